/** How long clients wait for an answer if they all connect at once, as after a restart. */
import { compile } from "../compile.ts";
import { burst as load, connections } from "../load.ts";
import { BARE, CALLBACK } from "../peers.ts";
import { descriptors, Process } from "../process.ts";
import { comparedTo, format, oneByOne, type Scenario } from "../scenario.ts";

const ROWS = [
  BARE,
  CALLBACK,
  "node:net in Deno",
  "net.Server in Node",
  "Bun.listen",
  "evconnlistener in C",
];

const COLUMNS = ["p50 ms", "p90 ms", "p99 ms", "dropped", "SYN again"];

/** The percentile of some values. */
function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.ceil(sorted.length * percent / 100) - 1]!;
}

/** How many clients' handshakes the kernel has dropped, in all queues of the machine. */
function listenDrops(): number {
  if (Deno.build.os !== "linux") return NaN;
  const [names = [], values = []] = Deno.readTextFileSync("/proc/net/netstat")
    .split("\n").filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("ListenDrops")]);
}

async function measure(command: string[], client: string, count: number) {
  await using server = await Process.serve(command);
  await connections(server.port, 2000); // what is loaded and compiled once
  const before = listenDrops();
  const arrivals = await load(client, server.port, count);
  const dropped = listenDrops() - before;
  const times = arrivals.map(({ ms }) => ms).sort((a, b) => a - b);
  return {
    "p50 ms": percentile(times, 50),
    "p90 ms": percentile(times, 90),
    "p99 ms": percentile(times, 99),
    dropped,
    "SYN again": arrivals.reduce((sum, { again }) => sum + again, 0),
  };
}

/** The client's path, or undefined if it cannot be compiled; a line then says why. */
async function makeClient(count: number): Promise<string | undefined> {
  try {
    if (count + 200 > descriptors) {
      throw new Error(`ulimit -Hn is ${descriptors}`);
    }
    return await compile("burst.c");
  } catch (error) {
    console.error(`burst is left out: ${(error as Error).message.trim()}`);
  }
}

export const burst: Scenario = async ({ burst: count }, peers) => {
  const client = await makeClient(count);
  if (client === undefined) return [];
  const rows = peers.filter(({ name }) => ROWS.includes(name));
  return [{
    title: `burst: ${format(count)} clients at once, a PING on each`,
    columns: Object.fromEntries(COLUMNS.map((column) => [column, 0])),
    baselines: comparedTo(BARE, rows),
    round: oneByOne(rows.map(({ name, command }) => ({
      name,
      measure: () => measure(command, client, count),
    }))),
  }];
};
