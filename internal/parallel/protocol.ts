/**
 * The messages between the parent and its workers. The parent sends orders, and the worker
 * answers each when it is carried out. Other reports say what happens in the worker.
 */
import { errorCode, toError } from "../util/failures.ts";
import type { ListenerStats, ShutdownResult } from "../types.ts";
import type { ParallelMode } from "./types.ts";

/** Where and how a worker is to listen. */
export interface Place {
  hostname: string;
  port: number;
  tcpBacklog: number;
  mode: ParallelMode;
}

/** A message of the parent to a worker. */
export type Order =
  | {
    order: "listen";
    place: Place;
    data: unknown;
    paused: boolean;
    /** The shared memory in which workers compare their loads, and this worker's slot. */
    load: { buffer: SharedArrayBuffer; slot: number };
  }
  | { order: "pause" | "resume" | "stats" | "close" }
  | { order: "setData"; data: unknown }
  /** Ends the worker. With `leave`, its queue is left to the other workers. */
  | { order: "leave" | "shutdown"; timeout: number }
  /** Sets whether the worker reports each change between idle and busy. */
  | { order: "watch"; isWatched: boolean };

/** An order as it is sent. */
export type SentOrder = Order & { id: number };

/** The first message to a worker: the module of the program. */
export interface ImportOrder {
  order: "import";
  module: string;
}

/**
 * Marks the reports among all that a worker posts, and the names of the workers that
 * `listenParallel()` has started.
 */
export const FROM = "@evconn/listener/parallel";

/** A message of a worker to the parent. */
export type Report =
  /** The worker runs, and holds its lock. */
  | { report: "started" }
  /** `serveParallel()` was called. */
  | { report: "serving" }
  /** The module of the program has been evaluated. */
  | { report: "evaluated" }
  /** An order was carried out, or has failed. */
  | { report: "answer"; id: number; result?: ShutdownResult; error?: Thrown }
  /** There was an uncaught error. */
  | { report: "failed"; error: Thrown }
  /** The worker has become busy or idle. */
  | { report: "changed" }
  /** The worker accepts no more connections. */
  | { report: "left" }
  /** All connections of the worker have ended. */
  | { report: "finished" };

/** A report as it is sent. Before `serveParallel()` is called, there are no stats. */
export type SentReport = Report & { from: typeof FROM; stats?: ListenerStats };

/**
 * An error as it is sent. A structured clone would lose the classes of `Deno.errors`,
 * codes, and causes that cannot be copied.
 */
export interface Thrown {
  name: string;
  message: string;
  stack?: string | undefined;
  code: string;
}

/** Makes the message of a thrown value. */
export function toThrown(error: unknown): Thrown {
  try {
    const { name, message, stack } = toError(error);
    return {
      name: String(name),
      message: String(message),
      stack: stack === undefined ? stack : String(stack),
      code: errorCode(error),
    };
  } catch {
    const message = "something that cannot be shown";
    return { name: "Error", message, code: "" };
  }
}

/** Makes an error of a message. It has its original class, if Deno has that class. */
export function fromThrown({ name, message, stack, code }: Thrown): Error {
  const known = {
    ...Deno.errors,
    RangeError,
    ReferenceError,
    SyntaxError,
    TypeError,
  };
  const ErrorClass = Object.hasOwn(known, name)
    ? known[name as keyof typeof known]
    : Error;
  const error = new ErrorClass(message);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return code === "" ? error : Object.assign(error, { code });
}
