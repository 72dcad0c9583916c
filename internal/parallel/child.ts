/**
 * The module of every worker. It imports the program's module, so that the parent hears
 * why a worker does not come up: its module throws, ends the worker, or is evaluated
 * without a call of `serveParallel()`.
 */
import { holdForLife } from "./life_lock.ts";
import type { Import } from "./protocol.ts";
import {
  report,
  reportFailure,
  reportUncaught,
  scope,
} from "./worker_scope.ts";

/**
 * What to start a worker with. The parent imports this module for it, which makes it a
 * part of a compiled program and of what `deno cache` loads.
 */
export const childModule: string = import.meta.url;

/** In the parent, and in modules of a worker that import the package, it does nothing. */
if (import.meta.main) start();

async function start(): Promise<void> {
  reportUncaught();
  const order = new Promise<Import>((resolve) => {
    const hear = (event: Event) => resolve((event as MessageEvent).data);
    scope.addEventListener("message", hear, { once: true });
  });
  await holdForLife(scope.name!);
  report({ report: "started" });
  const { module } = await order;
  try {
    await import(module);
    report({ report: "evaluated" });
  } catch (error) {
    reportFailure(error);
  }
}
