/** What a worker says to its parent, and the errors that nobody in it has caught. */
import { FROM, type Report, type SentReport, toThrown } from "./protocol.ts";
import type { ListenerStats } from "../types.ts";

/** The global scope of a worker. */
export const scope = globalThis as unknown as EventTarget & {
  readonly name?: string;
  postMessage?(report: SentReport): void;
};

/** The service of this worker, since `serveParallel()` was called. */
export interface Serving {
  /** What it has counted so far. */
  readonly stats: ListenerStats;
  /** Leaves the kernel's queue to the other workers, at once. */
  leaveQueue(): void;
}

let serving: Serving | undefined;

/** Whether `serveParallel()` was called in this worker. */
export function isServing(): boolean {
  return serving !== undefined;
}

/** From now on, reports have the counts of this service. */
export function setServing(service: Serving): void {
  serving = service;
  report({ report: "serving" });
}

/** Tells the parent something. */
export function report(report: Report): void {
  const stats = serving && { stats: serving.stats };
  scope.postMessage!({ ...report, from: FROM, ...stats });
}

/**
 * Reports an error that ends this worker. The parent may be busy, and every client
 * that is accepted until it reads the report would be cut off: so the worker leaves
 * the queue first.
 */
export function reportFailure(error: unknown): void {
  serving?.leaveQueue();
  report({ report: "failed", error: toThrown(error) });
}

/** The event that the program's listeners are asked with. */
let question: Event | undefined;

/**
 * Reports what nobody catches, unless a listener of the program prevents that. Must be
 * called before the program can add listeners.
 */
export function reportUncaught(): void {
  scope.addEventListener("error", (event) => {
    const { error, message, filename, lineno, colno } = event as ErrorEvent;
    const place = { message, filename, lineno, colno };
    const again = { ...place, error, cancelable: true };
    unlessPrevented(event, error, () => new ErrorEvent("error", again));
  });
  scope.addEventListener("unhandledrejection", (event) => {
    const { promise, reason, type } = event as PromiseRejectionEvent;
    const again = { promise, reason, cancelable: true };
    unlessPrevented(
      event,
      reason,
      () => new PromiseRejectionEvent(type, again),
    );
  });
}

/**
 * Deno looks at `defaultPrevented` right after its dispatch, and would end this worker
 * without a word to the parent. So the event is prevented here, before listeners of the
 * program, and these are asked with another one.
 */
function unlessPrevented(event: Event, error: unknown, again: () => Event) {
  if (event === question) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  question = again();
  if (scope.dispatchEvent(question)) reportFailure(error);
}
