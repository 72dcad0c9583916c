/** What workers see of each other: internal/parallel/load.ts. */
import { assertEquals } from "@std/assert";
import { HAS_BELLS, Load, Slots } from "../../internal/parallel/load.ts";

/** Workers that hold so many connections, accept, and have room. */
function loads(...held: number[]): Load[] {
  const slots = new Slots(held.length);
  return held.map((count) => {
    const load = new Load(slots.buffer, slots.take());
    show(load, count);
    return load;
  });
}

/** Says how many connections a worker holds, and whether it would take another one. */
function show(load: Load, held: number, state?: "full" | "closed"): void {
  load.show({ held, isFull: state === "full", isOpen: state !== "closed" });
}

/** What a worker says after another look at the others. */
function shouldYield(load: Load): boolean {
  load.look();
  return load.shouldYield;
}

function isFullAlone(load: Load): boolean {
  load.look();
  return load.isFullAlone;
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

Deno.test("Load.shouldYield says that a worker holds 4 more than the least", () => {
  const [one, other] = loads(4, 1) as [Load, Load];
  assertEquals([shouldYield(one), shouldYield(other)], [false, false]);
  show(other, 0);
  assertEquals([shouldYield(one), shouldYield(other)], [true, false]);
  show(one, 3);
  assertEquals(shouldYield(one), false);
});

Deno.test("Load.shouldYield counts only workers that accept", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  show(other, 0, "closed");
  assertEquals(shouldYield(one), false);
  show(other, 0, "full"); // full
  assertEquals(shouldYield(one), false);
  show(other, 0);
  assertEquals(shouldYield(one), true);
  other.yield();
  assertEquals(shouldYield(one), false);
  other.stopYielding();
  assertEquals(shouldYield(one), true);
  show(one, 9, "closed");
  assertEquals(shouldYield(one), false);
});

Deno.test("Load.leave() is for ever", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  other.leave();
  show(other, 0);
  other.yield();
  other.stopYielding();
  assertEquals(shouldYield(one), false);
});

Deno.test("Load.noteMiss() has a worker that misses six in a row taken for blocked, until one comes to it", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  for (let i = 0; i < 5; i++) one.noteMiss();
  assertEquals(shouldYield(one), true);
  other.arrive();
  for (let i = 0; i < 5; i++) one.noteMiss();
  assertEquals(shouldYield(one), true);
  one.noteMiss();
  assertEquals(shouldYield(one), false);
  other.arrive();
  assertEquals(shouldYield(one), true);
});

Deno.test("Load.show() makes a worker that need not yield any more count as accepting, before it has run", () => {
  const [one, other, third] = loads(4, 0, 9) as [Load, Load, Load];
  one.yield();
  third.yield();
  show(other, 1);
  // One of them counts again: the worker that has woken it yields to it.
  show(other, 8);
  assertEquals(shouldYield(other), true);
  assertEquals(shouldYield(one), false);
});

Deno.test("Load.isFullAlone says that a worker is full and another has room", () => {
  const [one, other, third] = loads(0, 0, 0) as [Load, Load, Load];
  show(one, 2, "full");
  assertEquals([isFullAlone(one), isFullAlone(other)], [true, false]);
  show(other, 2, "full");
  assertEquals([isFullAlone(one), isFullAlone(other)], [true, true]);
  show(third, 9);
  third.yield(); // it has room
  assertEquals(isFullAlone(one), true);
  show(third, 0, "closed"); // it accepts nothing
  assertEquals([isFullAlone(one), isFullAlone(other)], [false, false]);
});

Deno.test(
  "Load.onWake() calls back where a worker has only 2 more than the least",
  {
    ignore: !HAS_BELLS,
  },
  async () => {
    const [one, other, third] = loads(5, 0, 1) as [Load, Load, Load];
    using woken = countWakes(one);
    const wakes = async () => {
      await turn();
      return woken.count;
    };
    one.yield();
    show(other, 1);
    show(third, 4);
    assertEquals(await wakes(), 0); // there is the other one
    show(other, 2);
    assertEquals(await wakes(), 0);
    other.leave();
    assertEquals(await wakes(), 1);
    show(third, 5);
    assertEquals(await wakes(), 1); // it is awake
  },
);

Deno.test(
  "Load.onWake() calls back where a full worker is to accept, and where it is not",
  {
    ignore: !HAS_BELLS,
  },
  async () => {
    const [one, other, third] = loads(0, 0, 0) as [Load, Load, Load];
    show(one, 2, "full");
    using woken = countWakes(one);
    const wakes = async () => {
      await turn();
      return [woken.count, isFullAlone(one)];
    };
    show(other, 2, "full");
    assertEquals(await wakes(), [0, true]);
    show(third, 2, "full");
    assertEquals(await wakes(), [1, false]);
    show(third, 1);
    assertEquals(await wakes(), [2, true]);
    show(other, 1);
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
  show(one, 9);
  show(other, 0);
  assertEquals(shouldYield(one), true);
  slots.giveBack(theirs, true);
  assertEquals(shouldYield(one), false);
});
