/**
 * A worker that sends back what its clients say, and does to itself what the first
 * word says. Whom it has taken, and that it has died, is in memory that all share.
 */
import { serveParallel } from "@evconn/listener/parallel";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** What the workers share with the test. */
export interface Ledger {
  /** Which worker has taken the client with a port, by the port. */
  takers: SharedArrayBuffer;
  /** Which workers have died, by their number. */
  dead: SharedArrayBuffer;
  /** At 0 the number of the last worker, at 1 whether loops without an end may end. */
  numbers: SharedArrayBuffer;
  /** Sent back, after the number of the worker. */
  text: string;
}

let number = 0; // this worker's, from 1

const deaths: Record<string, () => void> = {
  "throw": () =>
    void setTimeout(() => {
      throw new Error("thrown at random");
    }),
  "reject": () => void Promise.reject(new Error("rejected at random")),
  "self.close": () => self.close(),
  "exit": () => Deno.exit(),
};

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

serveParallel<Ledger>(async (conn, _, { takers, dead, numbers, text }) => {
  const shared = new Int32Array(numbers);
  number ||= Atomics.add(shared, 0, 1) + 1;
  new Int32Array(takers)[conn.remoteAddr.port] = number;
  const buffer = new Uint8Array(1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    const said = decoder.decode(buffer.subarray(0, length));
    const [word = "", argument] = said.split(" ");
    const die = deaths[word];
    if (die) {
      new Int32Array(dead)[number] = 1;
      die();
      continue;
    }
    await conn.write(encoder.encode(`${number} ${text} ${said}`));
    if (word === "block") block(Number(argument));
    if (word === "wedge") { while (Atomics.load(shared, 1) === 0); }
  }
});
