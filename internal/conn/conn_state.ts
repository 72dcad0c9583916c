import type { ParsedHeader } from "../proxy/header.ts";
import { NONE, type Sweep, type Swept } from "../util/sweep.ts";
import { dispose } from "./close.ts";
import type { Peer } from "./peers.ts";
import type { ReadAhead } from "./read_ahead.ts";
import type { readableOf, writableOf } from "./streams.ts";

/** All that the listener knows of one connection, from the accept to the end. */
export class ConnState implements Swept {
  readonly conn: Deno.Conn;

  /** Its number among the connections that the listener has accepted. */
  order = 0;
  /** Which check of the pipeline is next. */
  step = 0;
  /** The counter of its peer; undefined if it is not counted. */
  peer: Peer | undefined = undefined;
  /** Its place in the list of a sweep: first the pipeline's, then that of `idleTimeout`. */
  place: number = NONE;
  /** In which tick of that sweep its wait began. */
  since: number = NONE;
  /** The connection before it among the active ones. */
  previous: ConnState | undefined = undefined;
  /** The connection after it among the active ones. */
  next: ConnState | undefined = undefined;

  /** The bytes that were read ahead; undefined before the first such read. */
  ahead: ReadAhead | undefined = undefined;
  /** The PROXY header. */
  header: ParsedHeader | undefined = undefined;
  /** The state of its TLS handshake, if the listener waits for that. */
  handshake: "pending" | "done" | "failed" | undefined = undefined;
  /** Called when it may have become ready. */
  onCome: ((state: ConnState) => void) | undefined = undefined;

  /** Whether the program wants its reads to keep the process alive. */
  isRefed = true;
  /**
   * Whether its pending operation was begun by the listener, and does not keep the process
   * alive.
   */
  isBackground = false;

  /** The sweep that ends operations which wait too long for the client. */
  idle: Sweep<ConnState> | undefined = undefined;
  /** How many operations wait for the client. */
  pending = 0;
  isTimedOut = false;
  #onDone: (<T>(result: T) => T) | undefined = undefined;
  #onFail: ((error: unknown) => never) | undefined = undefined;

  /** The streams that replace Deno's, made at the first use. */
  readable: ReturnType<typeof readableOf> | undefined = undefined;
  writable: ReturnType<typeof writableOf> | undefined = undefined;

  constructor(conn: Deno.Conn) {
    this.conn = conn;
  }

  /** Stops counting the connection for its peer. */
  leavePeer(): void {
    this.peer?.leave();
    this.peer = undefined;
  }

  /** Limits how long an operation waits for the client. */
  timed<T>(operation: Promise<T>): Promise<T> {
    if (this.pending++ === 0) this.idle!.watch(this);
    this.#onDone ??= (result) => {
      // The client is not idle: the other pending operations may wait anew.
      if (--this.pending > 0) this.idle?.watch(this);
      else this.idle?.endWait(this);
      return result;
    };
    this.#onFail ??= (error) => {
      if (--this.pending === 0) this.idle?.endWait(this);
      throw this.isTimedOut
        ? new Deno.errors.TimedOut("The client was idle for too long")
        : error;
    };
    return operation.then(this.#onDone as (result: T) => T, this.#onFail);
  }

  /** Closes the connection as idle. Its pending operations reject with TimedOut. */
  timeOut(): void {
    this.isTimedOut = true;
    dispose(this.conn);
  }

  /** Must be called when the connection is closed: drops its bytes and its timeout. */
  forget(): void {
    if (this.place !== NONE) this.idle?.remove(this);
    this.idle = undefined;
    this.ahead?.drop();
  }
}
