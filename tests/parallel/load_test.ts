/** How busy each worker is: internal/parallel/load.ts. */
import { assertEquals } from "@std/assert";
import { Load } from "../../internal/parallel/load.ts";

/** So many workers, with memory for one more, and how many each of them serves. */
function loads(...active: number[]): Load[] {
  const buffer = Load.forWorkers(active.length + 1);
  return active.map((count, slot) => {
    const load = new Load(buffer, slot);
    load.join();
    while (count-- > 0) load.enter();
    return load;
  });
}

Deno.test("Load says that one is ahead if it has 4 more than the least", () => {
  const [one, other] = loads(4, 1) as [Load, Load];
  assertEquals([one.isAhead, other.isAhead], [false, false]);
  other.leave();
  assertEquals([one.isAhead, other.isAhead], [true, false]);
  one.leave();
  assertEquals(one.isAhead, false);
});

Deno.test("Load counts nobody who has parted, and one who has is not ahead", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  other.part();
  other.enter();
  assertEquals(one.isAhead, false);
  other.join();
  assertEquals(one.isAhead, true);
  one.part();
  assertEquals(one.isAhead, false);
});

Deno.test("Load leaves out who stands back itself", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  other.isAway = true;
  assertEquals(one.isAhead, false);
  other.isAway = false;
  assertEquals(one.isAhead, true);
});

Deno.test("Load leaves out who misses five in a row, until it asks", () => {
  const [one, other] = loads(9, 0) as [Load, Load];
  for (let i = 0; i < 4; i++) one.miss();
  assertEquals(one.isAhead, true);
  other.ask();
  for (let i = 0; i < 4; i++) one.miss();
  assertEquals(one.isAhead, true);
  one.miss();
  assertEquals(one.isAhead, false);
  other.ask();
  assertEquals(one.isAhead, true);
});
