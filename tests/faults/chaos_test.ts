/** A short run of the chaos, always with the same choices. */
import { assertEquals, assertGreater } from "@std/assert";
import { chaos } from "../../bench/chaos.ts";
import { Program } from "../helpers/faults.ts";
import { size } from "../helpers/size.ts";

const CHAOS = import.meta.resolve("../../bench/chaos.ts");

Deno.test("chaos() finds every invariant in order", async () => {
  const rounds = size(3, 8);
  const report = await chaos(20, (report) => report.rounds < rounds);
  assertEquals(report.rounds, rounds);
  assertGreater(report.answered, 0);
  assertGreater(report.delivered, 0);
});

Deno.test("chaos.ts prints its seed and what it counted", async () => {
  await using run = Program.deno([CHAOS, "--seconds", "1", "--seed", "7"]);
  assertEquals(await run.line(), "seed 7");
  assertGreater(Number(await run.lineAfter("connections ")), 0);
  await run.lineAfter("Every invariant held.");
  assertEquals((await run.status).code, 0, run.stderr);
});
