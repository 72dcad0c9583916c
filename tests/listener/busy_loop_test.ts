/** A drain while the event loop has thousands of other things to do first. */
import { assertEquals } from "@std/assert";
import { CROWD } from "../helpers/crowd.ts";
import { Program } from "../helpers/faults.ts";
import { fewDescriptors } from "../helpers/machine.ts";

const LATE = 100;

interface Busy {
  /** How many connections there are, on all of which the client has spoken. */
  count: number;
  /** How much it has said on each: an echo reads 1,024 bytes at a time. */
  bytes: number;
  /** Whether they are the listener's own, with handlers that it does not await. */
  whose: "own" | "other";
}

/** How many of those in the queue are answered by a server that shuts down amid all this. */
async function answeredAmid({ count, bytes, whose }: Busy): Promise<number> {
  const go = await Deno.makeTempFile();
  await Deno.remove(go);
  const limit = count + 1000;
  const serving = ["busy", whose, `${count}`, go];
  await using server = Program.deno([CROWD, ...serving], limit);
  const [busyPort, port] = (await server.lineAfter("ports ")).split(" ");
  const talking = ["talk", busyPort!, `${count}`, `${bytes}`, port!, `${LATE}`];
  await using clients = Program.deno([CROWD, ...talking], limit);
  await clients.lineAfter("connected");
  await server.lineAfter("blocked");
  clients.kill("SIGUSR1");
  await clients.lineAfter("waiting");
  await Deno.writeTextFile(go, "");
  const answered = Number(await clients.lineAfter("answered "));
  await Deno.remove(go);
  return answered;
}

for (const [count, bytes] of [[2000, 1], [2000, 16_384], [6000, 1]] as const) {
  for (const whose of ["own", "other"] as const) {
    const others = whose === "own"
      ? "handlers that are not awaited"
      : "connections of another listener";
    Deno.test({
      name:
        `shutdown() delivers who waits behind ${count} ${others}, with ${bytes} bytes each`,
      ignore: Deno.build.os === "windows" || fewDescriptors(count + 1000),
      async fn() {
        assertEquals(await answeredAmid({ count, bytes, whose }), LATE);
      },
    });
  }
}
