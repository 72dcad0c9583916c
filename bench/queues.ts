/**
 * What happens to clients when one of two workers is in trouble: where both accept from
 * one queue, as with `listenParallel()`, where each has a queue of its own
 * (`SO_REUSEPORT`), and where `node:cluster` gives connections to two processes. Nothing
 * of this package runs here.
 *
 * ```sh
 * deno task queues
 * ```
 *
 * Linux only.
 *
 * @module
 */
import { getAvailablePort } from "@std/net/get-available-port";
import type { Order } from "./queues_worker.ts";

const CLIENTS = 40;
/** A client that has waited so long, in ms, has been left alone. */
const PATIENCE = 2000;

/** What the first worker does after it was too busy to accept for half a second. */
const TROUBLES = [
  "goes on",
  "stays busy",
  "closes its listener",
  "closes itself",
  "is terminated",
  "throws",
];
type End = "answered" | "reset" | "waiting";

/** Two workers, of which the first one gets into trouble. */
interface Team extends AsyncDisposable {
  /** Gets it into trouble. It is busy then. */
  trouble(trouble: string): Promise<unknown>;
  /** Ends it from outside. */
  terminate(): unknown;
}

/** How workers share a port. */
const TEAMS: [name: string, start: (port: number) => Promise<Team>][] = [
  ["one queue", (port) => startThreads(port, false)],
  ["SO_REUSEPORT", (port) => startThreads(port, true)],
  ["node:cluster", startCluster],
];

/** A worker, and its next word. */
class Colleague {
  readonly #worker = new Worker(
    new URL("./queues_worker.ts", import.meta.url),
    { type: "module" },
  );

  constructor() {
    this.#worker.onerror = (event) => event.preventDefault();
  }

  tell(order: Order): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#worker.onmessage = resolve;
    this.#worker.postMessage(order);
    return promise;
  }

  end(): void {
    this.#worker.terminate();
  }
}

async function startThreads(port: number, own: boolean): Promise<Team> {
  const [first, second] = [new Colleague(), new Colleague()];
  await first.tell({ port, own });
  await second.tell({ port, own });
  return {
    trouble: (trouble) => first.tell({ trouble }),
    terminate: () => first.end(),
    [Symbol.asyncDispose]() {
      first.end();
      second.end();
      return Promise.resolve();
    },
  };
}

async function startCluster(port: number): Promise<Team> {
  const program = `${import.meta.dirname}/queues_cluster.mjs`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", program, `${port}`],
    stdin: "piped",
    stdout: "piped",
    stderr: "null", // where one of them throws
  }).spawn();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const input = child.stdin.getWriter();
  const say = (line: string) =>
    input.write(new TextEncoder().encode(`${line}\n`));
  await output.read(); // it is ready
  return {
    async trouble(trouble) {
      await say(trouble);
      await output.read(); // it is busy
    },
    terminate: () => say("terminate"),
    async [Symbol.asyncDispose]() {
      await say("end");
      await output.cancel();
      await child.status;
    },
  };
}

/** Connects, asks, and waits for the answer. */
async function visit(port: number): Promise<End> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLong = new Promise<End>((resolve) => {
    timer = setTimeout(() => resolve("waiting"), PATIENCE);
  });
  const ask = async (): Promise<End> => {
    try {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await conn.write(new TextEncoder().encode("hello"));
      const length = await conn.read(new Uint8Array(5));
      return length === null ? "reset" : "answered";
    } catch {
      return "reset";
    }
  };
  try {
    return await Promise.race([ask(), tooLong]);
  } finally {
    clearTimeout(timer);
  }
}

/** What becomes of those who come while one of two workers is too busy to accept. */
async function measure(
  start: (port: number) => Promise<Team>,
  trouble: string,
): Promise<string> {
  const port = getAvailablePort();
  await using team = await start(port);
  await team.trouble(trouble);
  const visits = Array.from({ length: CLIENTS }, () => visit(port));
  if (trouble === "is terminated") team.terminate();
  const ends = Object.groupBy(await Promise.all(visits), (end) => end);
  return (["answered", "reset", "waiting"] as const)
    .map((end) => ends[end]?.length ?? 0).join(" / ");
}

const lines = [[
  "answered / reset / still waiting",
  ...TEAMS.map(([name]) => name),
]];
for (const trouble of TROUBLES) {
  const line = [`the other one ${trouble}`];
  for (const [, start] of TEAMS) line.push(await measure(start, trouble));
  lines.push(line);
}
const widths = lines[0]!.map((_, i) =>
  Math.max(...lines.map((line) => line[i]!.length))
);
console.log(
  `${CLIENTS} clients who come while one of two workers is busy, after ${
    PATIENCE / 1000
  } s`,
);
for (const line of lines) {
  console.log(
    line.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)
    ).join("   "),
  );
}
Deno.exit(); // a loop may still go on
