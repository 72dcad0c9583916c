/**
 * Workers that are killed, blocked and replaced at random while clients come and go.
 * Who is lost must have been taken by a worker that has died; nobody else is.
 */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { connect } from "../helpers/clients.ts";
import { ask } from "../helpers/parallel_service.ts";
import {
  besiege,
  newLedger,
  NOBODY,
  PATIENCE,
  reach,
  rest,
  startMortals,
} from "../helpers/siege.ts";
import { size } from "../helpers/size.ts";

/** A worker that ends silently is noticed where Deno has Web Locks. */
const DEATHS = "locks" in navigator
  ? ["throw", "reject", "self.close", "exit"]
  : ["throw", "reject"];

for (const seed of [1, 2]) {
  Deno.test(`workers that die at random lose nobody but their own clients, seed ${seed}`, async () => {
    const deaths = 6;
    const { harm, answered, excused } = await besiege(
      seed,
      3,
      async (siege, random) => {
        for (let i = 0; i < deaths; i++) {
          await siege.tell(`block ${50 + random(250)}`);
          await siege.tell(DEATHS[random(DEATHS.length)]!);
          if (i === 2) await siege.service.restart({ timeout: PATIENCE });
        }
      },
    );
    // One that dies may have accepted a client of whom its callback has not heard.
    const { untaken, ...rest } = harm;
    assertLessOrEqual(untaken, deaths, `${answered} ${excused}`);
    assertEquals({ untaken: 0, ...rest }, NOBODY);
  });
}

Deno.test("workers that are blocked and restarted lose nobody", async () => {
  const { harm, excused } = await besiege(3, 2, async (siege, random) => {
    const { service, ledger } = siege;
    for (let i = 0; i < 4; i++) {
      const restarted = service.restart();
      await siege.tell(`block ${50 + random(250)}`);
      await service.setData({ ...ledger, text: `text-${i}` });
      using client = await connect(service);
      assertEquals((await ask(client, "?"))?.split(" ")[1], `text-${i}`);
      client.close();
      await service.pause();
      await rest(random(20));
      await service.resume();
      await restarted;
    }
  });
  assertEquals({ ...harm, excused }, { ...NOBODY, excused: 0 });
});

Deno.test("a worker that is wedged holds up nobody who has a timeout", async () => {
  const ledger = newLedger();
  const go = () => void Atomics.store(new Int32Array(ledger.numbers), 1, 1);
  using _go = { [Symbol.dispose]: go }; // whatever happens
  const service = await startMortals(ledger, { workers: 2 });
  const wedge = async () => {
    const client = await connect(service);
    assert(await ask(client, "wedge"));
    return client;
  };
  using _first = await wedge();
  await service.restart({ timeout: 0 });
  assertEquals((await service.stats()).workers.length, 2);
  (await reach(service, ledger, 2))[Symbol.dispose]();

  using _second = await wedge();
  assertEquals((await service.stats()).workers.length, 2);
  const { unanswered } = await service.shutdown({ timeout: 0 });
  assert(unanswered.length > 0);
  assertEquals(service.state, "closed");
  await service.finished;
});

Deno.test("memory does not grow with restarts", async () => {
  const services = await Promise.all(
    Array.from({ length: 4 }, () => startMortals(newLedger(), { workers: 1 })),
  );
  const restart = async (times: number) => {
    await Promise.all(services.map(async (service) => {
      for (let i = 0; i < times; i++) await service.restart();
    }));
    return Deno.memoryUsage().rss / 2 ** 20;
  };
  const before = await restart(size(4, 12));
  const after = await restart(size(12, 38)); // each of four workers takes some 8 MB
  await Promise.all(services.map((service) => service.shutdown()));
  assertLessOrEqual(after, before + 40);
});
