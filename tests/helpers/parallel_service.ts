/** A service with several workers under test, and its clients. */
import {
  listenParallel,
  type ParallelListener,
  type ParallelOptions,
  type ParallelStats,
} from "@evconn/listener/parallel";

/** What a worker of the tests runs. */
export function workerModule(name: string): URL {
  return new URL(`workers/${name}.ts`, import.meta.url);
}

/** Ends the loops of the workers that were told to block. */
export function newStop() {
  const stop = new SharedArrayBuffer(4);
  return Object.assign(stop, {
    [Symbol.dispose]: () => void Atomics.store(new Int32Array(stop), 0, 1),
  });
}

/** Starts workers that do what clients say. */
export async function startCommands(
  options: Partial<ParallelOptions> = {},
  { stop = newStop(), text = "hello" } = {},
) {
  const service = await listenParallel(workerModule("commands"), {
    hostname: "127.0.0.1",
    port: 0,
    workers: 2,
    data: { stop, text },
    ...options,
  });
  // A test that fails must not wait for its clients.
  service[Symbol.asyncDispose] = async () => {
    await service.shutdown({ timeout: 0 });
  };
  return service;
}

/** Says something on a connection, and gives what comes back; null at the end. */
export async function ask(
  conn: Deno.Conn,
  text: string,
): Promise<string | null> {
  await conn.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(1024);
  const length = await conn.read(buffer);
  if (length === null) return null;
  return new TextDecoder().decode(buffer.subarray(0, length));
}

/** A module of a worker, whose source may use `serveParallel`. */
export function workerOf(source: string): URL {
  const module = import.meta.resolve("@evconn/listener/parallel");
  const imports = `import { serveParallel } from ${JSON.stringify(module)};`;
  const type = "text/javascript";
  return new URL(
    URL.createObjectURL(new Blob([`${imports}\n${source}`], { type })),
  );
}

/** Asks for the counts of a service until they are as they should be. */
export async function untilStats(
  service: ParallelListener,
  condition: (stats: ParallelStats) => boolean,
  seconds = 60,
): Promise<ParallelStats> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const stats = await service.stats();
    if (condition(stats)) return stats;
    if (performance.now() > deadline) {
      throw new Error(`Not in time: ${condition}, ${Deno.inspect(stats)}`);
    }
  }
}
