/** The reports of a worker to its parent, also of its uncaught errors. */
import { FROM, type Report, type SentReport, toThrown } from "./protocol.ts";
import type { ListenerStats } from "../types.ts";

/** The global scope of a worker. */
export const scope = globalThis as unknown as EventTarget & {
  readonly name?: string;
  postMessage?(report: SentReport): void;
};

/** The service of this worker, since `serveParallel()` was called. */
export interface WorkerService {
  /** Its counters. */
  readonly stats: ListenerStats;
  /** Leaves the kernel's queue to the other workers, at once. */
  leaveQueue(): void;
}

let current: WorkerService | undefined;

/** Whether `serveParallel()` was called in this worker. */
export function isServing(): boolean {
  return current !== undefined;
}

/** Sets the service of this worker. Reports contain its stats from now on. */
export function setService(service: WorkerService): void {
  current = service;
  report({ report: "serving" });
}

/** Sends a report to the parent. */
export function report(report: Report): void {
  const stats = current && { stats: current.stats };
  scope.postMessage!({ ...report, from: FROM, ...stats });
}

/**
 * Reports an error that ends this worker. The parent may be busy, and would cut off each
 * client that is accepted until it reads the report. So the worker leaves the queue
 * first.
 */
export function reportFailure(error: unknown): void {
  current?.leaveQueue();
  report({ report: "failed", error: toThrown(error) });
}

/** The event that the program's listeners get in place of Deno's. */
let replacement: Event | undefined;

/**
 * Reports uncaught errors, unless a listener of the program prevents the default. Must be
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
 * Deno checks `defaultPrevented` right after it has dispatched the event, and would end
 * this worker before it can send a report. So the event is prevented here, and the
 * listeners of the program get another one.
 */
function unlessPrevented(event: Event, error: unknown, again: () => Event) {
  if (event === replacement) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  replacement = again();
  if (scope.dispatchEvent(replacement)) reportFailure(error);
}
