/** A time that may be brought forward: internal/util/deadline.ts. A timer that stays is a leak. */
import { assertEquals } from "@std/assert";
import { Deadline } from "../../internal/util/deadline.ts";
import { turns } from "../helpers/clients.ts";

/** The longest wait that a timer takes. */
const LONG = 2 ** 31 - 1;

Deno.test("within() lets the time come after so many ms", async () => {
  const deadline = new Deadline();
  deadline.limit(1);
  assertEquals(deadline.isOver, false);
  await deadline.over;
  assertEquals(deadline.isOver, true);
});

Deno.test("within() with 0 lets the time come at once", async () => {
  const deadline = new Deadline();
  deadline.limit(LONG);
  deadline.limit(0);
  assertEquals(deadline.isOver, true);
  await deadline.over;
});

Deno.test("within() brings the time forward", async () => {
  const deadline = new Deadline();
  deadline.limit(LONG);
  deadline.limit(1);
  await deadline.over;
});

Deno.test("within() does not put the time off", async () => {
  const deadline = new Deadline();
  deadline.limit(1);
  deadline.limit(LONG);
  deadline.limit(Infinity);
  await deadline.over;
  deadline.limit(LONG);
  assertEquals(deadline.isOver, true);
});

Deno.test("within() with Infinity lets the time never come", async () => {
  const deadline = new Deadline();
  deadline.limit(Infinity);
  await turns();
  assertEquals(deadline.isOver, false);
});

Deno.test("clear() keeps the time from coming, for good", async () => {
  const deadline = new Deadline();
  deadline.limit(1);
  deadline.clear();
  deadline.limit(0);
  deadline.limit(1);
  await turns();
  assertEquals(deadline.isOver, false);
});
