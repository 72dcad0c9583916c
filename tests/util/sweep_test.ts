import { assertEquals } from "@std/assert";
import { Sweep } from "../../internal/util/sweep.ts";
import { until } from "../helpers/clients.ts";

Deno.test("Sweep() tells of waits that are over, and not of those that were forgotten or begun anew", async () => {
  const over: string[] = [];
  const sweep = new Sweep<string>(40, (item) => over.push(item));
  for (const item of ["first", "forgotten", "anew"]) sweep.watch(item);
  sweep.forget("forgotten");
  const keeping = setInterval(() => sweep.watch("anew"), 1);
  await until(() => over.length === 1);
  clearInterval(keeping);
  assertEquals(over, ["first"]);
  await until(() => over.length === 2);
  assertEquals(over, ["first", "anew"]);
  sweep.end();
});

Deno.test("Sweep() has no timer left when it has ended and nothing waits", () => {
  const sweep = new Sweep<string>(60_000, () => {});
  sweep.watch("one");
  sweep.watch("two");
  sweep.end();
  sweep.forget("one");
  sweep.forget("two"); // a timer that is left would be a leak
});

Deno.test("Sweep() with Infinity watches nothing", () => {
  new Sweep<string>(Infinity, () => {}).watch("for ever");
});
