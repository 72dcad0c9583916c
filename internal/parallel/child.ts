/**
 * The module of every worker. It imports the program's module, so that the parent learns
 * why a worker does not start: the module throws, ends the worker, or does not call
 * `serveParallel()`.
 */
import { holdLock } from "./thread_lock.ts";
import type { ImportOrder } from "./protocol.ts";
import {
  report,
  reportFailure,
  reportUncaught,
  scope,
} from "./worker_scope.ts";

/**
 * The URL to start a worker with. Because the parent imports it, this module is part of a
 * compiled program, and is loaded by `deno cache`.
 */
export const childModule: string = import.meta.url;

// This module is also imported by the parent, and by workers that import the package.
if (import.meta.main) start();

async function start(): Promise<void> {
  reportUncaught();
  const order = new Promise<ImportOrder>((resolve) => {
    const hear = (event: Event) => resolve((event as MessageEvent).data);
    scope.addEventListener("message", hear, { once: true });
  });
  await holdLock(scope.name!);
  report({ report: "started" });
  const { module } = await order;
  try {
    await import(module);
    report({ report: "evaluated" });
  } catch (error) {
    reportFailure(error);
  }
}
