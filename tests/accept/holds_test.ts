/** Reasons not to accept: internal/accept/holds.ts. */
import { assertEquals } from "@std/assert";
import { BACKOFF, FULL, Holds, PAUSED } from "../../internal/accept/holds.ts";

Deno.test("Holds lists each reason once, in the order in which they began, until the last ends", () => {
  const holds = new Holds();
  for (const reason of ["one", "two", "one"]) holds.add(reason);
  assertEquals([holds.list, holds.any], [["one", "two"], true]);
  holds.remove("one");
  assertEquals(holds.list, ["one", "two"]);
  holds.remove("one");
  assertEquals([holds.list, holds.has("one")], [["two"], false]);
  holds.remove("one"); // it is over already
  holds.add("one");
  assertEquals(holds.list, ["two", "one"]);
  holds.remove("one");
  holds.remove("two");
  assertEquals([holds.list, holds.any], [[], false]);
});

Deno.test("Holds stops the delivery while there is a reason that does not pass by itself", () => {
  const holds = new Holds();
  const seen: boolean[] = [];
  const look = (change: () => void) => {
    change();
    seen.push(holds.stopDelivery);
  };
  look(() => holds.add(FULL));
  look(() => holds.add(BACKOFF));
  look(() => holds.add(PAUSED));
  look(() => holds.add("mine"));
  look(() => holds.add("mine"));
  look(() => holds.remove(PAUSED));
  look(() => holds.remove("mine"));
  look(() => holds.remove("another")); // which is not held
  look(() => holds.remove("mine"));
  assertEquals(seen, [
    false,
    false,
    true,
    true,
    true,
    true,
    true,
    true,
    false,
  ]);
});

Deno.test("Holds.clear() ends all of them", () => {
  const holds = new Holds();
  for (const reason of ["mine", "mine", FULL]) holds.add(reason);
  holds.clear();
  assertEquals([holds.list, holds.any, holds.stopDelivery], [[], false, false]);
});
