import { assertEquals } from "@std/assert";
import { NONE, Sweep, type Swept } from "../../internal/util/sweep.ts";
import { until } from "../helpers/clients.ts";
import { Clock } from "../helpers/clock.ts";
import { random } from "../helpers/proxy_headers.ts";

interface Item extends Swept {
  name: string;
}

const item = (name: string): Item => ({ name, place: NONE, since: NONE });

/** A sweep, and the names of those whose wait was over. */
function telling(timeout: number) {
  const over: string[] = [];
  const sweep = new Sweep<Item>(timeout, ({ name }) => over.push(name));
  return { sweep, over };
}

Deno.test("Sweep() tells of waits that are over, and not of those that were removed, have ended or begun anew", async () => {
  const { sweep, over } = telling(40);
  const names = ["first", "removed", "ended", "anew"];
  const [first, removed, ended, anew] = names.map(item) as [
    Item,
    Item,
    Item,
    Item,
  ];
  for (const each of [first, removed, ended, anew]) sweep.watch(each);
  sweep.remove(removed);
  sweep.endWait(ended);
  const keeping = setInterval(() => sweep.watch(anew), 1);
  await until(() => over.length === 1);
  clearInterval(keeping);
  assertEquals(over, ["first"]);
  await until(() => over.length === 2);
  assertEquals(over, ["first", "anew"]);
  assertEquals([sweep.size, first.place], [0, NONE]);
  sweep.end();
});

Deno.test("Sweep() tells of a wait in time, and at most an eighth or 0.8 s later", () => {
  for (const [timeout, late] of [[8000, 1000], [80_000, 800]] as const) {
    using clock = new Clock();
    const { sweep, over } = telling(timeout);
    for (const begin of [0, 1, 333, 999]) {
      clock.pass(begin);
      sweep.watch(item("late"));
      clock.pass(timeout);
      assertEquals(over, []);
      clock.pass(late + 2);
      assertEquals(over.splice(0), ["late"]);
    }
    sweep.end();
  }
});

Deno.test("Sweep() may be changed by those that it tells", () => {
  using clock = new Clock();
  const items = Array.from({ length: 20 }, (_, i) => item(String(i)));
  const over: string[] = [];
  const sweep = new Sweep<Item>(8000, ({ name }) => {
    over.push(name);
    const other = items[Number(name) ^ 1]!; // the other one of a pair goes with it
    if (other.place !== NONE) sweep.remove(other);
    if (over.length === 5) sweep.watch(item("new"));
  });
  for (const each of items) sweep.watch(each);
  clock.pass(9100);
  assertEquals([over.length, sweep.size], [10, 1]);
  assertEquals(new Set(over.map((name) => Number(name) >> 1)).size, 10);
  sweep.remove(sweep.items[0]!);
  sweep.end();
});

Deno.test("Sweep() knows the place of each item, whatever happens", () => {
  using clock = new Clock();
  const { sweep } = telling(8000);
  const next = random(9);
  const items = Array.from({ length: 30 }, (_, i) => item(String(i)));
  for (let step = 0; step < 5000; step++) {
    const each = items[next(items.length)]!;
    const verb = next(3);
    if (verb === 0) sweep.watch(each);
    else if (each.place !== NONE && verb === 1) sweep.endWait(each);
    else if (each.place !== NONE) sweep.remove(each);
    clock.pass(1 + next(200));
    const listed = items.filter(({ place }) => place !== NONE);
    assertEquals(listed.length, sweep.size);
    for (const each of listed) {
      assertEquals(sweep.items[each.place]!.name, each.name);
    }
  }
  for (const each of [...sweep.items]) sweep.remove(each);
  sweep.end();
  assertEquals(clock.timers, 0);
});

Deno.test("Sweep() has one timer while there are items, and none after it", () => {
  using clock = new Clock();
  const { sweep } = telling(8000);
  assertEquals(clock.timers, 0);
  const [one, two] = [item("one"), item("two")];
  for (let round = 0; round < 2; round++) {
    sweep.watch(one);
    sweep.watch(two);
    assertEquals(clock.timers, 1);
    sweep.endWait(one);
    sweep.remove(two);
    clock.pass(1100);
    assertEquals([clock.timers, sweep.size], [0, 0]);
  }
});

Deno.test("Sweep() has no timer left when it has ended and nothing waits", () => {
  for (const leave of ["endWait", "remove"] as const) {
    const { sweep } = telling(60_000);
    const [one, two] = [item("one"), item("two")];
    sweep.watch(one);
    sweep.watch(two);
    sweep.end();
    sweep[leave](one);
    sweep[leave](two);
    assertEquals([sweep.size, one.place], [0, NONE]);
  } // a timer that is left would be a leak
});

Deno.test("Sweep() that has ended still tells of those that wait", () => {
  using clock = new Clock();
  const { sweep, over } = telling(8000);
  sweep.watch(item("late"));
  sweep.end();
  clock.pass(9100);
  assertEquals([over, clock.timers], [["late"], 0]);
});

Deno.test("Sweep() with Infinity ends no wait, and has no timer", () => {
  const { sweep, over } = telling(Infinity);
  const forEver = item("for ever");
  sweep.watch(forEver);
  assertEquals([sweep.items.length, over], [1, []]);
  sweep.remove(forEver);
});
