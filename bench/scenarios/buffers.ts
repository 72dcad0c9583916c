/**
 * How big an echo server's buffer should be, and what TCP_NODELAY does for
 * messages that span segments.
 */
import { echoes, hold } from "../load.ts";
import { deno } from "../peers.ts";
import { Process } from "../process.ts";
import { comparedTo, format, oneByOne, type Scenario } from "../scenario.ts";

const MESSAGE = 64 * 1024;
const OPEN = 1000;
const SIZES = [1, 4, 16, 64];

async function measure(size: number, noDelay: boolean, count: number) {
  const args = [size * 1024, Number(noDelay)].map(String);
  await using server = await Process.serve(deno("echo.ts", ...args));
  await echoes(server.port, 200, MESSAGE);
  const before = server.cpu();
  const rate = await echoes(server.port, count, MESSAGE);
  const cpu = (server.cpu() - before) / count;
  const empty = server.memory();
  await using _held = await hold(server.port, OPEN);
  const memory = (server.memory() - empty) / OPEN / 1024;
  return { "CPU µs/echo": cpu, "echo/s": rate, "KB/conn idle": memory };
}

export const buffers: Scenario = (plan) => {
  const rows = [true, false].flatMap((noDelay) =>
    SIZES.map((size) => ({
      name: `${size} KB${noDelay ? ", noDelay" : ""}`,
      measure: () => measure(size, noDelay, plan.echoes),
    }))
  );
  return [{
    title: `buffers: echoes of 64 KB, and ${format(OPEN)} connections idle`,
    columns: { "CPU µs/echo": 0, "echo/s": 0, "KB/conn idle": 1 },
    baselines: comparedTo("16 KB, noDelay", rows),
    round: oneByOne(rows),
  }];
};
