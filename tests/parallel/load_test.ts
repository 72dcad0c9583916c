/** What workers see of each other: internal/parallel/load.ts. */
import { assertEquals } from "@std/assert";
import { HAS_BELLS, Load, Slots } from "../../internal/parallel/load.ts";

/** Workers that hold so many connections, accept, and have room. */
function loads(...held: number[]): Load[] {
  const slots = new Slots(held.length);
  return held.map((count) => {
    const load = new Load(slots.buffer, slots.take());
    load.show(count, false, true);
    return load;
  });
}

/** Counts how often a worker is woken, until the end of the scope. */
function countWakes(load: Load) {
  let count = 0;
  load.onWake(() => count++);
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => load.leave(),
  };
}

/** What was notified is done. */
const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 5));

Deno.test("Load.isAhead says that a worker holds 4 more than the least", () => {
  const [one, other] = loads(4, 1) as [Load, Load];
  assertEquals([one.isAhead, other.isAhead], [false, false]);
  other.show(0, false, true);
  assertEquals([one.isAhead, other.isAhead], [true, false]);
  one.show(3, false, true);
  assertEquals(one.isAhead, false);
});

Deno.test("Load.isAhead counts only workers that accept", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  other.show(0, false, false);
  assertEquals(one.isAhead, false);
  other.show(0, true, true); // full
  assertEquals(one.isAhead, false);
  other.show(0, false, true);
  assertEquals(one.isAhead, true);
  other.yield();
  assertEquals(one.isAhead, false);
  other.goOn();
  assertEquals(one.isAhead, true);
  one.show(9, false, false);
  assertEquals(one.isAhead, false);
});

Deno.test("Load.leave() is for ever", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  other.leave();
  other.show(0, false, true);
  other.yield();
  other.goOn();
  assertEquals(one.isAhead, false);
});

Deno.test("Load.miss() has a worker that misses six in a row taken for blocked, until one comes to it", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  for (let i = 0; i < 5; i++) one.miss();
  assertEquals(one.isAhead, true);
  other.arrive();
  for (let i = 0; i < 5; i++) one.miss();
  assertEquals(one.isAhead, true);
  one.miss();
  assertEquals(one.isAhead, false);
  other.arrive();
  assertEquals(one.isAhead, true);
});

Deno.test("Load.show() makes a worker that need not yield any more count as accepting, before it has run", () => {
  const [one, other, third] = loads(4, 0, 9) as [Load, Load, Load];
  one.yield();
  third.yield();
  other.show(1, false, true);
  // One of them counts again: the worker that has woken it yields to it.
  other.show(8, false, true);
  assertEquals(other.isAhead, true);
  assertEquals(one.isAhead, false);
});

Deno.test("Load.isFullAlone says that a worker is full and another has room", () => {
  const [one, other, third] = loads(0, 0, 0) as [Load, Load, Load];
  one.show(2, true, true);
  assertEquals([one.isFullAlone, other.isFullAlone], [true, false]);
  other.show(2, true, true);
  assertEquals([one.isFullAlone, other.isFullAlone], [true, true]);
  third.show(9, false, true);
  third.yield(); // it has room
  assertEquals(one.isFullAlone, true);
  third.show(0, false, false); // it accepts nothing
  assertEquals([one.isFullAlone, other.isFullAlone], [false, false]);
});

Deno.test("Load.onWake() calls back where a worker need not yield any more", {
  ignore: !HAS_BELLS,
}, async () => {
  const [one, other, third] = loads(5, 0, 1) as [Load, Load, Load];
  using woken = countWakes(one);
  one.yield();
  other.show(1, false, true);
  await turn();
  assertEquals(woken.count, 0);
  third.show(2, false, true);
  await turn();
  assertEquals(woken.count, 0); // there is the other one
  other.leave();
  await turn();
  assertEquals(woken.count, 1);
  third.show(3, false, true);
  await turn();
  assertEquals(woken.count, 1); // it is awake
});

Deno.test(
  "Load.onWake() calls back where a full worker is to accept, and where it is not",
  {
    ignore: !HAS_BELLS,
  },
  async () => {
    const [one, other, third] = loads(0, 0, 0) as [Load, Load, Load];
    one.show(2, true, true);
    using woken = countWakes(one);
    const wakes = async () => {
      await turn();
      return [woken.count, one.isFullAlone];
    };
    other.show(2, true, true);
    assertEquals(await wakes(), [0, true]);
    third.show(2, true, true);
    assertEquals(await wakes(), [1, false]);
    third.show(1, false, true);
    assertEquals(await wakes(), [2, true]);
    other.show(1, false, true);
    assertEquals(await wakes(), [2, true]);
    third.leave();
    other.leave();
    assertEquals(await wakes(), [3, false]);
  },
);

Deno.test("Slots gives no thread the slot of another, nor of one that may still run", () => {
  const slots = new Slots(1);
  const [first, second] = [slots.take(), slots.take()];
  slots.giveBack(first, true);
  assertEquals(slots.take(), first);
  slots.giveBack(second, false);
  const others = Array.from({ length: 63 }, () => slots.take());
  assertEquals(new Set([first, second, ...others]).size, 65);
  slots.giveBack(others[0]!, true);
  assertEquals(slots.take(), others[0]);
});

Deno.test("Slots shares the last one where so many threads may still run", () => {
  const slots = new Slots(1);
  const taken = Array.from({ length: 70 }, () => slots.take());
  assertEquals(new Set(taken).size, 66);
  slots.giveBack(taken.at(-1)!, true);
  assertEquals(slots.take(), taken.at(-1));
});

Deno.test("Slots.giveBack() has the others yield no more to a thread that has ended", () => {
  const slots = new Slots(2);
  const [mine, theirs] = [slots.take(), slots.take()];
  const [one, other] = [mine, theirs].map((slot) =>
    new Load(slots.buffer, slot)
  ) as [Load, Load];
  one.show(9, false, true);
  other.show(0, false, true);
  assertEquals(one.isAhead, true);
  slots.giveBack(theirs, true);
  assertEquals(one.isAhead, false);
});
