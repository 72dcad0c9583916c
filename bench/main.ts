/**
 * Measures what this package costs, side by side with other servers: in several rounds,
 * with medians, extremes, and ratios to the bare loop.
 *
 * ```sh
 * deno task bench
 * deno task bench accept --rounds 15 --peers Deno.listen,callback
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { ProgressBar } from "@std/cli/unstable-progress-bar";
import { chart } from "./chart.ts";
import { loadName } from "./load.ts";
import { BARE, choose, type Peer, peers, ready } from "./peers.ts";
import { descriptors, pinned } from "./process.ts";
import { measure, type Result } from "./rounds.ts";
import type { Plan, Scenario } from "./scenario.ts";
import { accept } from "./scenarios/accept.ts";
import { buffers } from "./scenarios/buffers.ts";
import { burst } from "./scenarios/burst.ts";
import { echo } from "./scenarios/echo.ts";
import { growth } from "./scenarios/growth.ts";
import { http } from "./scenarios/http.ts";
import { idle } from "./scenarios/idle.ts";
import { parallel } from "./scenarios/parallel.ts";
import { shutdown } from "./scenarios/shutdown.ts";
import { tls } from "./scenarios/tls.ts";
import { text } from "./text.ts";

const scenarios: Record<string, Scenario> = {
  accept,
  echo,
  idle,
  growth,
  shutdown,
  buffers,
  burst,
  parallel,
  http,
  tls,
};

const FULL: Plan = {
  rounds: 5,
  connections: 20_000, // a tick of the CPU clock is 1 % of that
  messages: 100_000,
  echoes: 800,
  burst: 5_000,
  open: [0, 1_000, 4_000, 8_000],
};
/** Just enough to see that everything runs. */
const SHORT: Plan = {
  rounds: 1,
  connections: 2_000,
  messages: 20_000,
  echoes: 200,
  burst: 1_000,
  open: [0, 1_000],
};
const SHORT_NOTE = "--short measures too little: its ratios mean nothing.";

const HELP = `Usage: deno task bench [options] [scenario...]

Scenarios: ${Object.keys(scenarios).join(", ")} (default: all)

Options:
  --rounds N    How often each row is measured (default: ${FULL.rounds})
  --peers LIST  Only peers whose name contains one of these, and ${BARE}
  --short       A minute, to see that everything runs; its ratios mean nothing
  --json        Print JSON instead of tables
  --save        Keep tables and charts in bench/results/
  --help        Show this and exit`;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

function wantedPeers(list: string | undefined): readonly Peer[] {
  if (list === undefined) return peers;
  try {
    return choose(list.split(",").map((name) => name.trim()));
  } catch (error) {
    fail((error as Error).message);
  }
}

const args = parseArgs(Deno.args, {
  string: ["peers", "rounds"],
  boolean: ["short", "json", "save", "help"],
  unknown: (arg) => {
    if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
  },
});
if (args.help) {
  console.log(HELP);
  Deno.exit();
}
const plan: Plan = { ...(args.short ? SHORT : FULL) };
if (args.rounds !== undefined) plan.rounds = Number(args.rounds);
if (!(Number.isInteger(plan.rounds) && plan.rounds > 0)) fail("Invalid rounds");
plan.open = plan.open.filter((open) => {
  const fits = open + 200 < descriptors;
  if (!fits) {
    console.error(`No ${open} connections: ulimit -Hn is ${descriptors}`);
  }
  return fits;
});
const names = args._.length > 0 ? args._.map(String) : Object.keys(scenarios);
const unknown = names.find((name) => !(name in scenarios));
if (unknown !== undefined) fail(`Unknown scenario: ${unknown}`);

const found = await ready(wantedPeers(args.peers));
const tables = await Promise.all(names.map(async (name) => ({
  name,
  tables: await scenarios[name]!(plan, found),
})));

const environment = {
  deno: Deno.version.deno,
  os: `${Deno.build.os} ${Deno.build.arch}`,
  cores: navigator.hardwareConcurrency,
  pinned,
  load: loadName,
  rounds: plan.rounds,
};
const max = tables.flatMap(({ tables }) => tables)
  .reduce(
    (sum, { baselines }) => sum + Object.keys(baselines).length * plan.rounds,
    0,
  );
const bar = Deno.stderr.isTerminal()
  ? new ProgressBar({
    max,
    clear: true,
    formatter: ({ styledTime, progressBar, value, max }) =>
      `[${styledTime}] [${progressBar}] ${value}/${max}`,
  })
  : undefined;
const results: Record<string, Result[]> = {};
for (const { name, tables: own } of tables) {
  results[name] = [];
  for (const table of own) {
    results[name].push(
      await measure(table, plan.rounds, (line) => {
        if (bar) bar.value++;
        else console.error(line);
      }),
    );
  }
}
await bar?.stop();

const header = Object.entries(environment)
  .map(([key, value]) => `${key}: ${value}`).join(", ");
const notes = args.short ? [SHORT_NOTE] : [];
const report = (own: Result[]) =>
  [header, ...notes, ...own.map(text)].join("\n\n");
console.log(
  args.json
    ? JSON.stringify({ environment, results }, null, 2)
    : report(Object.values(results).flat()),
);
if (args.json && args.short) console.error(SHORT_NOTE);
if (args.save) {
  for (const [name, own] of Object.entries(results)) {
    if (own.length === 0) continue; // it was left out
    const path = `${import.meta.dirname}/results/${name}`;
    await Deno.writeTextFile(`${path}.svg`, chart(own[0]!));
    await Deno.writeTextFile(`${path}.txt`, report(own) + "\n");
  }
}
