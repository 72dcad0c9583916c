import type { ParsedHeader } from "../proxy/header.ts";
import { NONE, type Sweep, type Swept } from "../util/sweep.ts";
import { dispose } from "./close.ts";
import type { Peer } from "./peers.ts";
import type { ReadAhead } from "./read_ahead.ts";
import type { readableOf, writableOf } from "./streams.ts";

/**
 * All that the listener knows of one connection: one small record, from the accept to
 * the end. What is done with it is in the files of its parts.
 */
export class ConnState implements Swept {
  readonly conn: Deno.Conn;

  /** How many connections the listener had accepted by then. */
  order = 0;
  /** Which check of the pipeline is next. */
  step = 0;
  /** The counter of its peer; undefined where peers are not counted. */
  peer: Peer | undefined = undefined;
  /** Its place in the list of a sweep: of the pipeline's first, then of the idle ones. */
  place: number = NONE;
  /** Since when it waits, in that sweep. */
  since: number = NONE;
  /** The connection before it among the active ones. */
  previous: ConnState | undefined = undefined;
  /** The connection after it among the active ones. */
  next: ConnState | undefined = undefined;

  /** The bytes that were read ahead; undefined before the first such read. */
  ahead: ReadAhead | undefined = undefined;
  /** What a proxy has said. */
  header: ParsedHeader | undefined = undefined;
  /** How its TLS handshake is, once somebody waits for that. */
  handshake: "pending" | "done" | "failed" | undefined = undefined;
  /** Called when something has come that may have made it ready. */
  onCome: ((state: ConnState) => void) | undefined = undefined;

  /** Whether the program wants its reads to keep the process alive. */
  isRefed = true;
  /** Whether what is pending on it was begun by the listener and keeps nothing alive. */
  isBackground = false;

  /** What ends operations that wait too long for the client. */
  idle: Sweep<ConnState> | undefined = undefined;
  /** How many operations wait for the client. */
  pending = 0;
  isTimedOut = false;
  #onDone: (<T>(result: T) => T) | undefined = undefined;
  #onFail: ((error: unknown) => never) | undefined = undefined;

  /** The streams in place of Deno's, once they were asked for. */
  readable: ReturnType<typeof readableOf> | undefined = undefined;
  writable: ReturnType<typeof writableOf> | undefined = undefined;

  constructor(conn: Deno.Conn) {
    this.conn = conn;
  }

  /** It does not count toward the limit of its peer any more. */
  leavePeer(): void {
    this.peer?.leave();
    this.peer = undefined;
  }

  /** An operation that may wait for the client, but not for too long. */
  timed<T>(operation: Promise<T>): Promise<T> {
    if (this.pending++ === 0) this.idle!.watch(this);
    this.#onDone ??= (result) => {
      // For those that are still pending, this one was a sign of life.
      if (--this.pending > 0) this.idle?.watch(this);
      else this.idle?.rest(this);
      return result;
    };
    this.#onFail ??= (error) => {
      if (--this.pending === 0) this.idle?.rest(this);
      throw this.isTimedOut
        ? new Deno.errors.TimedOut("The client was idle for too long")
        : error;
    };
    return operation.then(this.#onDone as (result: T) => T, this.#onFail);
  }

  /** Closes the connection for being idle. What waits on it rejects with TimedOut. */
  timeOut(): void {
    this.isTimedOut = true;
    dispose(this.conn);
  }

  /** The connection is closed: nothing is to be read or watched any more. */
  forget(): void {
    if (this.place !== NONE) this.idle?.remove(this);
    this.idle = undefined;
    this.ahead?.drop();
  }
}
