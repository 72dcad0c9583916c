import { applyFlags } from "../bind.ts";
import { checkCallback, checkSignal, refuse } from "../check.ts";
import { readOnce } from "../settings.ts";
import type { ParallelOptions } from "./types.ts";

/** The options of a service, checked before a socket is opened. */
export class ParallelSettings {
  readonly worker: string;
  readonly bind: { hostname: string; port: number; tcpBacklog: number };
  readonly workers: number;
  readonly data: unknown;
  readonly signal?: AbortSignal;
  readonly onWorkerError?: (error: Error, index: number) => void;

  constructor(worker: string | URL, options: ParallelOptions) {
    this.worker = checkModule(worker);
    const given = readOnce(
      options as ParallelOptions & Record<string, unknown>,
    );
    refuseOthers(given);
    applyFlags(given, 0); // checks and sets tcpBacklog
    const { hostname = "0.0.0.0", port, tcpBacklog = 0 } = given;
    this.bind = { hostname, port, tcpBacklog };
    const { workers = navigator.hardwareConcurrency } = given;
    const isCount = typeof workers === "number";
    if (!Number.isInteger(workers) || workers < 1) {
      const ErrorClass = isCount ? RangeError : TypeError;
      refuse(ErrorClass, "workers", "a positive integer", workers);
    }
    this.workers = workers;
    const { data, signal, onWorkerError } = given;
    checkSignal(signal);
    checkCallback("onWorkerError", onWorkerError);
    this.data = structuredClone(data);
    if (signal) this.signal = signal;
    if (onWorkerError) this.onWorkerError = onWorkerError;
  }
}

/** Refuses a path, which would be relative to a module of this package. */
function checkModule(worker: unknown): string {
  const url = worker instanceof URL ? worker.href : worker;
  if (typeof url === "string" && URL.canParse(url)) return url;
  const path = typeof url === "string" && url !== "" ? url : "./worker.ts";
  const example = `new URL(${JSON.stringify(path)}, import.meta.url)`;
  refuse(TypeError, "worker", `a URL, as ${example}`, worker);
}

/** Refuses other transports. Deno can share the queue of a TCP socket only. */
function refuseOthers(given: Record<string, unknown>): void {
  const isTls = given["cert"] !== undefined || given["key"] !== undefined;
  const transport = isTls ? "TLS" : given["transport"] ?? "tcp";
  if (transport === "tcp" && given["path"] === undefined) return;
  throw new Deno.errors.NotSupported(
    `Cannot listen as workers are not supported with ${
      isTls ? "TLS" : `the transport ${Deno.inspect(given["transport"])}`
    }: Deno lets threads share the queue of a TCP socket only`,
  );
}
