/** What a second worker brings, and what it costs to keep the two even. */
import { hold } from "../load.ts";
import { deno, type Peer, peers, ready, type ReadyPeer } from "../peers.ts";
import { installed, pinned, Process, run } from "../process.ts";
import {
  byTurns,
  format,
  type Loaded,
  oneByOne,
  type Scenario,
  type Table,
} from "../scenario.ts";

/** How long a handler works on a message, in µs. */
const WORK = [50, 0];
const HELD = { connections: 100, workers: 4, times: 4 };
const programs = `${import.meta.dirname}/../peers`;

const SPREAD = "spread evenly";
const UNSPREAD = "first that accepts";

/** On any core: there is one for each worker, and none for the load. */
function anyCore(command: string[]): string[] {
  if (!pinned) return command;
  const last = navigator.hardwareConcurrency - 1;
  return ["taskset", "-c", `0-${last}`, ...command];
}

function ours(program: string, workers: number, us: number): string[] {
  const [path, ...args] = deno(program, `${workers}`, `${us}`);
  return anyCore([
    path!,
    ...args.slice(0, 2),
    "--allow-read",
    ...args.slice(2),
  ]);
}

/** The command of another peer, with a program that has several processes. */
async function theirs(name: string, program: string): Promise<string[]> {
  const peer = peers.find((peer) => peer.name === name)!;
  return [(await peer.command())[0]!, `${programs}/${program}`];
}

const KINDS: Record<
  string,
  (workers: number, us: number) => string[] | Promise<string[]>
> = {
  "listenParallel, workers": (workers, us) => ours("parallel.ts", workers, us),
  "Deno, node:cluster, processes": (workers, us) =>
    anyCore([
      ...[Deno.execPath(), "run", "--quiet", "--allow-all", "--no-config"],
      ...[`${programs}/node_cluster.mjs`, `${workers}`, `${us}`],
    ]),
  "Bun, SO_REUSEPORT, processes": async (workers, us) =>
    anyCore([
      ...await theirs("Bun.listen", "bun_parallel.js"),
      `${workers}`,
      `${us}`,
    ]),
  "Node, cluster, processes": async (workers, us) =>
    anyCore([
      ...await theirs("net.Server in Node", "node_cluster.mjs"),
      `${workers}`,
      `${us}`,
    ]),
};

const row = (kind: string, workers: number) => `${kind}: ${workers}`;

/** Everybody with one worker and with two. */
function kindsOf(us: number): Promise<ReadyPeer[]> {
  const rows: Peer[] = Object.entries(KINDS).flatMap(([kind, command]) =>
    [1, 2].map((workers) => ({
      name: row(kind, workers),
      command: () => Promise.resolve(command(workers, us)),
    }))
  );
  return ready(rows);
}

/** redis-benchmark, which is the load that takes the least of the cores. */
function load(keepAlive: 0 | 1) {
  return async (port: number, count: number): Promise<number> => {
    const csv = await run([
      ...["redis-benchmark", "-p", `${port}`, "-n", `${count}`, "-c", "50"],
      ...["-k", `${keepAlive}`, "--csv", "PING"],
    ]);
    const rate = /^"PING[^"]*","([\d.]+)"/m.exec(csv)?.[1];
    if (rate === undefined) throw new Error(`redis-benchmark printed ${csv}`);
    return Number(rate);
  };
}

/** The CPU time of a server's processes, all of which have its port as an argument. */
function cpuOf(port: number): number {
  if (Deno.build.os !== "linux") return NaN;
  let ticks = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      if (!command.endsWith(`\0${port}\0`)) continue;
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const fields = stat.split(") ").at(-1)!.split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended.
    }
  }
  return ticks / 100 * 1e6; // USER_HZ
}

async function start(command: string[]): Promise<Loaded> {
  const server = await Process.serve(command);
  const cpu = () => cpuOf(server.port);
  return {
    server: Object.assign(server, { cpu }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function baselines(rows: readonly ReadyPeer[]) {
  return Object.fromEntries(
    rows.map(({ name }) => [name, name.replace(/\d+$/, "1")]),
  );
}

async function messages(us: number, count: number): Promise<Table> {
  const rows = await kindsOf(us);
  const work = us === 0 ? "no work" : `${us} µs of work`;
  return {
    title: `parallel: ${
      format(count)
    } PINGs on 50 connections, ${work} on each`,
    columns: { "µs/msg": 2, "msg/s": 0, "CPU µs/msg": 1 },
    baselines: baselines(rows),
    round: byTurns(
      rows.map(({ name, command }) => ({ name, start: () => start(command) })),
      load(1),
      count,
      ({ cpu, rate }) => ({
        "µs/msg": 1e6 / rate,
        "msg/s": rate,
        "CPU µs/msg": cpu,
      }),
    ),
  };
}

const RULES: Record<string, string> = {
  [UNSPREAD]: "unspread.ts",
  [SPREAD]: "parallel.ts",
};

function accepts(count: number): Table {
  return {
    title: `parallel: ${format(count)} short connections on 2 workers`,
    columns: { "µs/conn": 1, "conn/s": 0, "CPU µs/conn": 1 },
    baselines: { [UNSPREAD]: UNSPREAD, [SPREAD]: UNSPREAD },
    round: byTurns(
      Object.entries(RULES).map(([name, program]) => ({
        name,
        start: () => start(ours(program, 2, 0)),
      })),
      load(0),
      count,
      ({ cpu, rate }) => ({
        "µs/conn": 1e6 / rate,
        "conn/s": rate,
        "CPU µs/conn": cpu,
      }),
    ),
  };
}

/** The fewest and the most that a worker has, the worst of a few times. */
async function spread(program: string) {
  const { connections, workers, times } = HELD;
  const seen: number[] = [];
  for (let i = 0; i < times; i++) {
    await using server = await Process.serve(ours(program, workers, 0));
    const active = async (): Promise<number[]> => {
      await server.tell();
      return JSON.parse(await server.line());
    };
    await active(); // all workers are there
    await using _held = await hold(server.port, connections);
    seen.push(...await active());
  }
  return { fewest: Math.min(...seen), most: Math.max(...seen) };
}

function held(): Table {
  const { connections, workers, times } = HELD;
  return {
    title:
      `parallel: ${connections} held connections on ${workers} workers, the worst of ${times} times`,
    columns: { fewest: 0, most: 0 },
    baselines: { [UNSPREAD]: UNSPREAD, [SPREAD]: UNSPREAD },
    round: oneByOne(
      Object.entries(RULES).map(([name, program]) => ({
        name,
        measure: () => spread(program),
      })),
    ),
  };
}

export const parallel: Scenario = async (plan) => {
  if (!await installed("redis-benchmark")) {
    console.error("parallel is left out: redis-benchmark is not installed");
    return [];
  }
  return [
    ...await Promise.all(WORK.map((us) => messages(us, plan.messages))),
    accepts(plan.connections),
    held(),
  ];
};
