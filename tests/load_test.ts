/** How busy each worker is: internal/parallel/load.ts. */
import { assertEquals } from "@std/assert";
import { Load } from "../internal/parallel/load.ts";

function loads(count: number): Load[] {
  const buffer = Load.forWorkers(count);
  return Array.from({ length: count }, (_, slot) => new Load(buffer, slot));
}

Deno.test("Load says that one is ahead if it has 4 more than the least", () => {
  const [one, other, third] = loads(4);
  one!.come(4);
  other!.come(1);
  assertEquals(one!.isAhead(4), false);
  third!.come(0);
  assertEquals(one!.isAhead(4), true);
  assertEquals(third!.isAhead(0), false);
});

Deno.test("Load counts nobody who has left, and one who has is not ahead", () => {
  const [one, other] = loads(2);
  one!.come(9);
  other!.come(0);
  other!.leave();
  assertEquals(one!.isAhead(9), false);
  other!.come(0);
  one!.leave();
  assertEquals(one!.isAhead(9), false);
});

Deno.test("Load leaves out who is asleep, until it takes somebody", () => {
  const [one, other] = loads(2);
  one!.come(9);
  other!.come(0);
  one!.leaveOut(9);
  assertEquals(one!.isAhead(9), false);
  other!.come(1);
  assertEquals(one!.isAhead(9), true);
});

Deno.test("Load hears of connections that end", () => {
  const [one, other] = loads(2);
  one!.come(4);
  other!.come(1);
  assertEquals(one!.isAhead(4), false);
  other!.go();
  assertEquals(one!.isAhead(4), true);
  other!.go(); // it has none
  other!.leave();
  other!.go();
  assertEquals(one!.isAhead(4), false);
});
