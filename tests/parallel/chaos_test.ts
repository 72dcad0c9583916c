/**
 * Everything that can be done to a service with workers, at random, while clients come
 * and go. All counts have to be right at any time.
 */
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLessOrEqual,
} from "@std/assert";
import type { ParallelStats } from "@evconn/listener/parallel";
import { ask } from "../helpers/parallel_service.ts";
import { connect } from "../helpers/clients.ts";
import {
  besiege,
  NOBODY,
  type Random,
  rest,
  type Siege,
} from "../helpers/siege.ts";

const STEPS = Number(Deno.env.get("CHAOS_STEPS") ?? 40);
/** Counts that never go down. */
const COUNTERS = [
  "accepted",
  "rejected",
  "aborted",
  "timedOut",
  "acceptErrors",
  "connectionErrors",
  "restarts",
] as const;

/** Looks at the counts, and at those before. */
class Ledger {
  #before: ParallelStats | undefined;

  check(stats: ParallelStats): void {
    const { workers, restarts: _restarts, ...total } = stats;
    for (const [key, value] of Object.entries(total)) {
      const each = workers.map((one) => one[key as keyof typeof one]);
      assertEquals(each.reduce((sum, count) => sum + count), value, key);
      assert(each.every((count) => count >= 0), `${key}: ${each}`);
    }
    assertGreaterOrEqual(stats.accepted, stats.active + stats.waiting);
    for (const key of COUNTERS) {
      assertGreaterOrEqual(stats[key], this.#before?.[key] ?? 0, key);
    }
    this.#before = stats;
  }
}

/** What may be done to the service, and how many workers die of it. */
function stepsOf({ service, ledger, tell }: Siege, random: Random) {
  const steps: [name: string, deaths: number, run: () => Promise<unknown>][] = [
    ["restart", 0, () => service.restart()],
    ["restart with a timeout", 0, () => service.restart({ timeout: 20_000 })],
    ["block", 0, () => tell(`block ${50 + random(200)}`)],
    ["throw", 1, () => tell("throw")],
    ["reject", 1, () => tell("reject")],
    ["pause", 0, async () => {
      await service.pause();
      await rest(random(30));
      await service.resume();
    }],
    ["setData", 0, async () => {
      const text = `text-${random(1000)}`;
      await service.setData({ ...ledger, text });
      using client = await connect(service);
      assertEquals((await ask(client, "?"))?.split(" ")[1], text);
    }],
    ["unref and ref", 0, async () => {
      service.unref();
      await rest(random(10));
      service.ref();
    }],
  ];
  return steps;
}

for (const seed of [11, 12]) {
  Deno.test(`whatever is done to workers, the counts are right, seed ${seed}`, async () => {
    const done: string[] = [];
    let deaths = 0;
    const siege = await besiege(seed, 3, async (siege, random) => {
      const ledger = new Ledger();
      const steps = stepsOf(siege, random);
      const restarts: Promise<unknown>[] = [];
      for (let i = 0; i < STEPS; i++) {
        const [name, dies, run] = steps[random(steps.length)]!;
        done.push(name);
        deaths += dies;
        const step = run();
        if (name === "restart") restarts.push(step);
        else await step;
        ledger.check(await siege.service.stats());
      }
      await Promise.all(restarts);
      ledger.check(await siege.service.stats());
    });
    const { harm: { untaken, ...harm }, answered } = siege;
    const { untaken: _, ...none } = NOBODY;
    assertEquals(harm, none, done.join());
    assertLessOrEqual(untaken, deaths, done.join());
    assertGreaterOrEqual(siege.last.accepted, answered);
    assertEquals([siege.last.active, siege.last.waiting], [0, 0]);
  });
}
