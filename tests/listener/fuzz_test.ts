/**
 * Everything that may happen to a listener and its socket, in random order and at random
 * microtasks. `EVCONN_FUZZ=60 deno test …` goes on for 60 seconds with seeds of its own.
 */
import "../helpers/virtual_time.ts"; // first
import { runSequence } from "../helpers/fuzz/sequence.ts";
import { QuietConsole } from "../helpers/console.ts";

const SEQUENCES = 1500;
const MAX_SECONDS = 15; // a turn of the event loop took longer before Deno 2.6
const STEPS = 80;
const seconds = Number(Deno.env.get("EVCONN_FUZZ") ?? 0);

Deno.test("each connection is in one place, whatever happens to a listener and when", async () => {
  using _ = new QuietConsole();
  const end = Date.now() + MAX_SECONDS * 1000;
  for (let seed = 1; seed <= SEQUENCES && Date.now() < end; seed++) {
    await runSequence(seed, STEPS);
  }
});

Deno.test({
  name: "each connection is in one place, with seeds that are new each time",
  ignore: seconds === 0,
  async fn() {
    using _ = new QuietConsole();
    const end = Date.now() + seconds * 1000;
    let count = 0;
    for (let seed = end % 2 ** 31; Date.now() < end; seed++, count++) {
      await runSequence(seed, STEPS);
    }
    Deno.stdout.writeSync(
      new TextEncoder().encode(`${count} sequences without a fault\n`),
    );
  },
});
