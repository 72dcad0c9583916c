/** Scenarios: tables that are measured round by round, in one of two ways. */
import type { ReadyPeer } from "./peers.ts";
import { Process, type Server } from "./process.ts";
import type { Figures } from "./summary.ts";

/** How much is measured. */
export interface Plan {
  rounds: number;
  connections: number;
  messages: number;
  echoes: number;
  /** How many clients come at once. */
  burst: number;
  /** How many connections are open. */
  open: readonly number[];
}

/** A table, whose columns are figures with so many decimal places. */
export interface Table {
  title: string;
  columns: Record<string, number>;
  /** For each row, the row that it is compared to. */
  baselines: Record<string, string>;
  /** Measures every row once, beginning with another one each round. */
  round: (round: number) => AsyncIterable<[row: string, figures: Figures]>;
}

/** Makes the tables of a scenario, or none if it cannot run here; a line then says why. */
export type Scenario = (
  plan: Plan,
  peers: readonly ReadyPeer[],
) => Table[] | Promise<Table[]>;

/** Does so many operations on a server, and returns how many it did per second. */
export type Load = (port: number, count: number) => Promise<number>;

/** A round is cut into so many slices. */
const SLICES = 10;

/** All peers, compared to one of them. */
export function comparedTo(
  baseline: string,
  rows: readonly { name: string }[],
) {
  return Object.fromEntries(rows.map(({ name }) => [name, baseline]));
}

/** Measures rows one after the other. */
export function oneByOne(
  rows: readonly { name: string; measure: () => Promise<Figures> }[],
): Table["round"] {
  return async function* (round) {
    for (const { name, measure } of rotated(rows, round)) {
      yield [name, await measure()];
    }
  };
}

/**
 * Measures rows side by side: their servers run at the same time, and take turns of a
 * fraction of a second. So a ratio compares what happened at the same time, on a machine
 * whose speed changes from one second to the next.
 */
export function byTurns(
  rows: readonly { name: string; start: () => Promise<Loaded> }[],
  load: Load,
  count: number,
  figures: (cost: { cpu: number; rate: number }) => Figures,
): Table["round"] {
  return async function* (round) {
    await using stack = new AsyncDisposableStack();
    const turns = [];
    for (const { name, start } of rotated(rows, round)) {
      const { server } = stack.use(await start());
      // Warms up: compiles the code, and grows the heap to the size that it needs.
      await load(server.port, count);
      turns.push({ name, server, cpu: 0, seconds: 0 });
    }
    const slice = Math.ceil(count / SLICES);
    for (let i = 0; i < SLICES; i++) {
      for (const turn of rotated(turns, i)) {
        const before = turn.server.cpu();
        turn.seconds += slice / await load(turn.server.port, slice);
        turn.cpu += turn.server.cpu() - before;
      }
    }
    const total = slice * SLICES;
    for (const { name, cpu, seconds } of turns) {
      yield [name, figures({ cpu: cpu / total, rate: total / seconds })];
    }
  };
}

/** A running server, with whatever must run beside it. */
export interface Loaded extends AsyncDisposable {
  server: Server;
}

/** A running server alone. */
export async function alone(command: readonly string[]): Promise<Loaded> {
  const server = await Process.serve(command);
  return { server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const first = by % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}

/** Formats a number: 8,000. */
export function format(value: number, digits = 0): string {
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
