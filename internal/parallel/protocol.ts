/**
 * What the parent and its workers say to each other. The parent gives orders, and each
 * is answered once it is carried out. Besides, a worker reports what happens in it.
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

/** What the parent tells a worker to do. */
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
  /** Ends it: `leave` leaves the queue to the other workers. */
  | { order: "leave" | "shutdown"; timeout: number }
  /** Whether to report each change between idle and busy. */
  | { order: "watch"; isWatched: boolean };

/** An order on its way. */
export type Sent = Order & { id: number };

/** The first message to a worker: the module of the program. */
export interface Import {
  order: "import";
  module: string;
}

/**
 * Marks the reports among all that a worker posts, and the names of the workers that
 * `listenParallel()` has started.
 */
export const FROM = "@evconn/listener/parallel";

/** What a worker tells the parent. */
export type Report =
  /** It runs, and holds its lock. */
  | { report: "started" }
  /** `serveParallel()` was called. */
  | { report: "serving" }
  /** The module of the program has been evaluated. */
  | { report: "evaluated" }
  /** An order is carried out, or could not be. */
  | { report: "answer"; id: number; result?: ShutdownResult; error?: Thrown }
  /** An error that nobody has caught. */
  | { report: "failed"; error: Thrown }
  /** Its first connection has come, or its last one has ended. */
  | { report: "changed" }
  /** It accepts no more connections. */
  | { report: "left" }
  /** All its connections have ended. */
  | { report: "finished" };

/** A report on its way. A worker that does not serve yet has no counts. */
export type SentReport = Report & { from: typeof FROM; stats?: ListenerStats };

/**
 * An error on its way: structured cloning forgets the classes of `Deno.errors`, codes,
 * and causes that cannot be copied.
 */
export interface Thrown {
  name: string;
  message: string;
  stack?: string | undefined;
  code: string;
}

/** Whatever was thrown, to be sent. */
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

/** The error that was sent, of the class that it had, if Deno has such a class. */
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
