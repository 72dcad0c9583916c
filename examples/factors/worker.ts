/** One of the workers: reads a number a line, and answers with its prime factors. */
import { serveParallel } from "@evconn/listener/parallel";
import { logClient } from "../messages.ts";
import type { Data } from "../run_workers.ts";

/** How many digits a number may have, so that computing does not take long. */
const MAX_DIGITS = 13;

/** Computes by trial division. That blocks this thread, and no other. */
function factors(number: number): number[] {
  const found = [];
  for (let divisor = 2; divisor * divisor <= number; divisor++) {
    for (; number % divisor === 0; number /= divisor) found.push(divisor);
  }
  return number > 1 || found.length === 0 ? [...found, number] : found;
}

function answer(line: string): string {
  const isNumber = /^[1-9]\d*$/.test(line) && line.length <= MAX_DIGITS;
  return isNumber
    ? `${line} = ${factors(Number(line)).join(" × ")}\n`
    : `a number of at most ${MAX_DIGITS} digits, please\n`;
}

/** Reads lines. Lines that are longer than any number are cut. */
async function* lines(conn: Deno.Conn): AsyncGenerator<string> {
  const buffer = new Uint8Array(4096);
  const decoder = new TextDecoder();
  let rest = "";
  for (let length; (length = await conn.read(buffer)) !== null;) {
    rest += decoder.decode(buffer.subarray(0, length), { stream: true });
    const parts = rest.split(/\r?\n/);
    rest = parts.pop()!.slice(0, MAX_DIGITS + 1);
    yield* parts;
  }
}

serveParallel<Data>(async (conn, _listener, { verbose }) => {
  if (verbose) logClient(conn);
  const answers = conn.writable.getWriter();
  for await (const line of lines(conn)) {
    await answers.write(new TextEncoder().encode(answer(line)));
  }
}, { maxConnections: 1000, idleTimeout: 60_000 });
