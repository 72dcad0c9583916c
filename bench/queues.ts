/**
 * What happens to clients when one of two workers is in trouble: where both accept
 * from one queue, as with `listenParallel()`, and where each has a queue of its own
 * (`SO_REUSEPORT`). Nothing of this package runs here: it is about the kernel.
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
const QUEUES: [name: string, own: boolean][] = [
  ["one queue", false],
  ["SO_REUSEPORT", true],
];

type End = "answered" | "reset" | "waiting";

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

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
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
async function measure(own: boolean, trouble: string): Promise<string> {
  const port = getAvailablePort();
  using first = new Colleague();
  using second = new Colleague();
  await first.tell({ port, own });
  await second.tell({ port, own });
  await first.tell({ trouble });
  const visits = Array.from({ length: CLIENTS }, () => visit(port));
  if (trouble === "is terminated") first[Symbol.dispose]();
  const ends = Object.groupBy(await Promise.all(visits), (end) => end);
  return (["answered", "reset", "waiting"] as const)
    .map((end) => ends[end]?.length ?? 0).join(" / ");
}

const lines = [[
  "answered / reset / still waiting",
  ...QUEUES.map(([name]) => name),
]];
for (const trouble of TROUBLES) {
  const line = [`the other one ${trouble}`];
  for (const [, own] of QUEUES) line.push(await measure(own, trouble));
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
