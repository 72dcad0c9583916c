/** Runs a service with several workers, from its command line to its end. */
import {
  listenParallel,
  type ParallelListener,
} from "@evconn/listener/parallel";
import { commandLine } from "./command_line.ts";
import { fail, formatAddress, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

/** The third argument of the callback in all workers. */
export interface Data {
  /** Whether to print a line for each client. */
  verbose: boolean;
}

/** Parses the number of workers. */
export function parseWorkers(text: string): number {
  return /^[1-9]\d?$/.test(text) ? Number(text) : fail("Invalid --workers");
}

/**
 * Listens, and serves until a signal ends it. SIGHUP replaces the workers.
 *
 * @param module The module of the workers.
 * @param help What `--help` prints.
 * @param greeting What is printed before the address.
 */
export async function runWorkers(
  module: URL,
  help: string,
  greeting: string,
): Promise<void> {
  const { hostname, port, workers, verbose } = commandLine(help, {
    hostname: "127.0.0.1",
    port: 9876,
    workers: `${navigator.hardwareConcurrency}`,
  });
  const service = await tryTo(
    `listen on ${hostname}:${port}`,
    () =>
      listenParallel<Data>(module, {
        hostname,
        port,
        workers: parseWorkers(workers),
        data: { verbose },
      }),
  );
  console.log(`${greeting} ${formatAddress(service.addr)}`);
  if (Deno.build.os !== "windows") {
    Deno.addSignalListener("SIGHUP", () => restart(service));
  }
  onEndSignal((again) => {
    service.shutdown(again ? { timeout: 0 } : {});
  });
  await service.finished;
}

async function restart(service: ParallelListener): Promise<void> {
  try {
    await service.restart();
    console.log("All workers are new");
  } catch (error) {
    console.error(`Cannot restart: ${(error as Error).message}`);
  }
}
