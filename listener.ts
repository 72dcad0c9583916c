/**
 * The connection listener: {@linkcode listen}, {@linkcode listenTls} and the
 * {@linkcode ConnListener} that both of them make.
 *
 * Two ideas carry it. *Demand*: an accept is in flight only while somebody wants
 * a connection. *Holds*: independent reasons not to accept right now. What
 * follows from them is *parking*: Deno cannot cancel an accept without closing
 * the socket, so the one connection that it brings when nobody wants it any more
 * is kept, and delivered first when accepting goes on.
 *
 * @module
 */
import { ActiveConns } from "./internal/active_conns.ts";
import { caughtUp, delay } from "./internal/event_loop.ts";
import {
  errorCode,
  isClosedHere,
  isPeerGoneBeforeAccept,
  isPeerGoneWhileServed,
} from "./internal/failures.ts";
import { DeferredConns } from "./internal/first_byte.ts";
import {
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_DISABLED,
} from "./flags.ts";
import { Handover } from "./internal/handover.ts";
import {
  checkCallback,
  checkMaxConnections,
  checkOptions,
  checkSocket,
  checkTimeout,
  checkTransport,
  listenOptions,
  transportOf,
} from "./internal/listen_options.ts";
import { explainAddrInUse, SocketFile } from "./internal/unix_socket.ts";

/**
 * Called once for each connection, in the order in which they were accepted (with
 * `LEV_OPT_DEFERRED_ACCEPT`, in the order of their first bytes):
 * `evconnlistener_cb`. It may pause, close, free or detach the listener, or set
 * another callback. If it returns a promise, the listener counts the
 * connection as active until the promise settles and closes it then. If it
 * returns nothing, the connection is the callback's.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam D The type of the data given along with the callback.
 *
 * @example Usage
 * ```ts
 * import { type ConnectionCallback, listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * type Greeting = ConnectionCallback<Deno.TcpConn, string>;
 * const greet: Greeting = async (conn, _listener, name) => {
 *   await conn.write(new TextEncoder().encode(`hello ${name}`));
 * };
 * const where = { hostname: "127.0.0.1", port: 0 };
 * await using listener = listen(where, greet, "world");
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello world");
 * ```
 */
export type ConnectionCallback<
  C extends Deno.Conn = Deno.TcpConn,
  D = undefined,
> = (conn: C, listener: ConnListener<C>, data: D) => void | Promise<void>;

/**
 * Told that accepting failed for a reason of the listener's own, such as
 * `error.code === "EMFILE"`: `evconnlistener_errorcb`. Accepting is tried again
 * after a wait, unless the hook ends or pauses the listener. Clients that go
 * away before they are accepted are never reported.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam D The type of the data given along with the connection callback.
 *
 * @example Usage
 * ```ts
 * import { type AcceptErrorCallback, listen } from "@evconn/listener";
 *
 * const stop: AcceptErrorCallback = (error, listener) => {
 *   console.error("Shutting down:", error);
 *   listener.shutdown();
 * };
 * await using _listener = listen({ port: 0, onAcceptError: stop });
 * ```
 */
export type AcceptErrorCallback<
  C extends Deno.Conn = Deno.TcpConn,
  D = unknown,
> = (error: Error, listener: ConnListener<C>, data: D) => void;

/**
 * Told what a connection callback threw, or what its promise rejected with. The
 * connection is closed by then.
 *
 * @typeParam C The connection's type, which follows the transport.
 *
 * @example Usage
 * ```ts
 * import { type ConnectionErrorCallback, listen } from "@evconn/listener";
 *
 * const log: ConnectionErrorCallback = (error, conn) => {
 *   console.error(`${conn.remoteAddr.hostname}:`, error);
 * };
 * await using _listener = listen({ port: 0, onConnectionError: log });
 * ```
 */
export type ConnectionErrorCallback<C extends Deno.Conn = Deno.TcpConn> = (
  error: unknown,
  conn: C,
  listener: ConnListener<C>,
) => void;

/**
 * Options of a listener, beside those of `Deno.listen`.
 *
 * @typeParam C The connection's type, which follows the transport.
 *
 * @example Usage
 * ```ts
 * import { listen, type ListenerOptions } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const options: ListenerOptions = { maxConnections: 1000, noDelay: true };
 * await using listener = listen({ port: 0, ...options });
 * assertEquals(listener.maxConnections, 1000);
 * ```
 */
export interface ListenerOptions<C extends Deno.Conn = Deno.TcpConn> {
  /**
   * `LEV_OPT_*` flags, combined with `|`.
   *
   * @default {0}
   */
  flags?: number;
  /**
   * The most connections at a time whose callback's promise is still pending.
   * Connections that are not counted, because the callback returns nothing or
   * because they are taken by `accept()`, are not limited.
   *
   * @default {Infinity}
   */
  maxConnections?: number;
  /**
   * What happens to clients at the limit: `"queue"` leaves them in the kernel's
   * queue until there is room, `"reject"` accepts and closes them at once.
   *
   * @default {"queue"}
   */
  overflow?: "queue" | "reject";
  /**
   * Whether to set `TCP_NODELAY` on accepted connections. TCP only.
   *
   * @default {false}
   */
  noDelay?: boolean;
  /**
   * Whether to set `SO_KEEPALIVE` on accepted connections. TCP only.
   *
   * @default {false}
   */
  keepAlive?: boolean;
  /** When aborted, the listener does `shutdown({ timeout: 0 })`. */
  signal?: AbortSignal;
  /**
   * Told of accept failures, as by `setErrorCallback()`. Without it, each
   * episode of failures is one `console.warn`.
   */
  onAcceptError?: AcceptErrorCallback<C, unknown>;
  /**
   * Told of callbacks that fail. Without it, their errors go to
   * `console.error`, except those that only say that the peer went away or that
   * a shutdown cut the connection off; the hook is told of these, too.
   */
  onConnectionError?: ConnectionErrorCallback<C>;
}

/**
 * Counts since the listener was made, and what it has in hand now. All are
 * numbers of connections, except `acceptErrors`.
 *
 * @example Usage
 * ```ts
 * import { listen, type ListenerStats } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen({ port: 0 });
 * const stats: ListenerStats = listener.stats;
 * assertEquals(stats.accepted, 0);
 * ```
 */
export interface ListenerStats {
  /**
   * Accepted: delivered, rejected, or parked; with `LEV_OPT_DEFERRED_ACCEPT` also
   * those that are silent, or went away without a byte.
   */
  accepted: number;
  /** Now active: the promise that their callback returned is pending. */
  active: number;
  /** Now parked, waiting until accepting goes on: 0 or 1. */
  parked: number;
  /** Closed at once because of `maxConnections` with `overflow: "reject"`. */
  rejected: number;
  /**
   * Clients that were gone before they could be accepted; with
   * `LEV_OPT_DEFERRED_ACCEPT` also those that went away without a byte, or were
   * sent away for their silence.
   */
  aborted: number;
  /** Failures to accept for other reasons, which the error hook was told. */
  acceptErrors: number;
  /** Connections whose callback threw or rejected. */
  connectionErrors: number;
}

/**
 * How a shutdown went.
 *
 * @example Usage
 * ```ts
 * import { listen, type ShutdownResult } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const result: ShutdownResult = await listen({ port: 0 }).shutdown();
 * assertEquals(result, { completed: 0, aborted: 0 });
 * ```
 */
export interface ShutdownResult {
  /** How many active connections ended by themselves during the shutdown. */
  completed: number;
  /** How many were cut off when the timeout was over. */
  aborted: number;
}

/** The first wait after a failed accept, in ms: long enough not to spin. */
const MIN_BACKOFF = 5;
/** The longest wait, in ms: how late a listener may notice that descriptors are back. */
const MAX_BACKOFF = 1000;
/**
 * How many vanished clients in a row are skipped before a wait of MIN_BACKOFF.
 * Without it, a socket on which every accept fails would starve the event loop.
 */
const MAX_ABORTED_IN_A_ROW = 256;
/** The length of the kernel's queue that Deno asks for by default. */
const DENO_BACKLOG = 511;
/** The longest queue of an adopted socket: Linux allows no more by default. */
const ADOPTED_BACKLOG = 4096;

/**
 * Sockets that listen() made. On an adopted one LEV_OPT_DEFERRED_ACCEPT comes too
 * late, as in libevent: it is asked for when the socket is made.
 */
const madeHere = new WeakSet<Deno.Listener>();

// Holds, as bits. CLOSED is the one that is never released.
const PAUSED = 1;
const FULL = 2;
const BACKOFF = 4;
const CLOSED = 8;

/**
 * A `Deno.Listener` with a few more verbs: libevent's `evconnlistener`.
 *
 * {@linkcode listen} and {@linkcode listenTls} make one; the constructor makes
 * one around a listener that you already have (`evconnlistener_new`). Take its
 * connections with a callback, with `for await`, or with `accept()`. After its
 * end every method is a quiet no-op, except `accept()`, which rejects.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam A The address's type, which follows the connection's.
 *
 * @example Adopting a listener
 * ```ts
 * import { ConnListener } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
 * const options = { maxConnections: 10 };
 * await using listener = new ConnListener(socket, options, async (conn) => {
 *   await conn.write(new TextEncoder().encode("hello"));
 * });
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 */
export class ConnListener<
  C extends Deno.Conn = Deno.TcpConn,
  A extends Deno.Addr = C["localAddr"],
> implements Deno.Listener<C, A>, AsyncDisposable {
  /** The `LEV_OPT_*` flags that the listener was made with. */
  readonly flags: number;
  #socket: Deno.Listener<C, A>;
  readonly #options: ListenerOptions<C>;
  readonly #hasTcpOptions: boolean; // there are TCP options to set
  readonly #backlog: number;
  #maxConnections: number;
  #onAcceptError: AcceptErrorCallback<C, unknown> | null;

  // Demand: a callback is set, or somebody waits. Waiters get undefined at the end.
  #callback: ConnectionCallback<C, unknown> | null = null;
  #data: unknown;
  readonly #waiting: ((conn: C | undefined) => void)[] = [];

  // Holds: why nothing is accepted now.
  #holds = 0;
  #retryDelay = MIN_BACKOFF;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #abortedInARow = 0;

  // The accept in flight; once its connection is parked, the promise that has it.
  #accepting: Promise<C> | undefined;
  #parked = false;
  #running = false; // the accept loop
  #idle = false; // nobody wants what is in flight: it must not keep the process alive
  #refed = true; // by ref() and unref()

  readonly #active = new ActiveConns<C>();
  #stats = {
    accepted: 0,
    rejected: 0,
    aborted: 0,
    acceptErrors: 0,
    connectionErrors: 0,
  };

  // With LEV_OPT_DEFERRED_ACCEPT, connections that have not spoken, or have and
  // are not delivered yet.
  readonly #deferred: DeferredConns<C> | undefined;

  // With a Unix socket: closing must not remove what is not ours.
  readonly #file: SocketFile | undefined;

  // The end, in this order: #draining (only with shutdown()), the signal, the hold
  // CLOSED, #released, #gone, and when no callback is running any more #finished.
  #draining = false;
  readonly #ending = new AbortController();
  #released: Promise<void> | undefined; // settles when the socket is gone
  #gone = false; // it has settled
  readonly #finished = Promise.withResolvers<void>();

  /**
   * Makes a listener around a socket that is already listening:
   * `evconnlistener_new`. Flags that are about making the socket have no effect
   * on one that is made.
   *
   * @param socket What to accept from. It is the listener's from now on.
   * @param options The listener's options.
   * @param callback Called for each connection. Without one, nothing is accepted
   * until there is one, or until somebody iterates or calls `accept()`.
   * @param data Given to the callback and to the accept error hook.
   * @throws {TypeError} If the socket, an option or the callback is of a wrong
   * type, or with `LEV_OPT_DEFERRED_ACCEPT`, which is for `listen()` only.
   * @throws {RangeError} If `flags` has unknown bits, or `maxConnections` is
   * neither a positive integer nor `Infinity`.
   * @throws {Deno.errors.NotSupported} If `noDelay` or `keepAlive` is set and the
   * transport is not TCP.
   */
  constructor(
    socket: Deno.Listener<C, A>,
    options: ListenerOptions<C> = {},
    // deno-lint-ignore no-explicit-any
    callback?: ConnectionCallback<C, any> | null,
    data?: unknown,
  ) {
    checkSocket(socket);
    checkOptions(options, callback);
    checkTransport(options, transportOf(socket));
    this.#socket = socket;
    this.#options = options;
    this.#hasTcpOptions = Boolean(options.noDelay || options.keepAlive);
    this.flags = options.flags ?? 0;
    this.#maxConnections = options.maxConnections ?? Infinity;
    this.#onAcceptError = options.onAcceptError ?? null;
    const adopted = !madeHere.delete(socket);
    const { tcpBacklog = -1 } = options as { tcpBacklog?: number };
    if (adopted) this.#backlog = ADOPTED_BACKLOG;
    else this.#backlog = tcpBacklog < 0 ? DENO_BACKLOG : tcpBacklog;
    if (this.flags & LEV_OPT_DISABLED) this.#holds |= PAUSED;
    if (this.flags & LEV_OPT_DEFERRED_ACCEPT) {
      if (adopted) {
        throw new TypeError(
          "Cannot listen as LEV_OPT_DEFERRED_ACCEPT is not for an adopted socket",
        );
      }
      this.#deferred = new DeferredConns(
        () => this.#deliverHeard(),
        () => {
          this.#stats.aborted++;
          this.#checkLimit();
        },
      );
    }
    const { addr } = socket;
    if (addr.transport === "unix") this.#file = new SocketFile(addr.path);
    if (options.signal) this.#follow(options.signal);
    this.setCallback(callback ?? null, data);
  }

  #follow(signal: AbortSignal): void {
    const abort = () => void this.shutdown({ timeout: 0 });
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    this.finished.then(() => signal.removeEventListener("abort", abort));
  }

  /**
   * What is listened on: `evconnlistener_get_fd`. After `detach()`, or `free()`
   * without `LEV_OPT_CLOSE_ON_FREE`, what goes on listening.
   *
   * @example Usage
   * ```ts
   * import { ConnListener } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const socket = Deno.listen({ port: 0 });
   * await using listener = new ConnListener(socket);
   * assertEquals(listener.socket, socket);
   * ```
   */
  get socket(): Deno.Listener<C, A> {
    return this.#socket;
  }

  /**
   * The address that is listened on. With port 0 it has the port that the system
   * has picked.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ hostname: "127.0.0.1", port: 0 });
   * assertEquals(listener.addr.hostname, "127.0.0.1");
   * ```
   */
  get addr(): A {
    return this.#socket.addr;
  }

  /**
   * Where the listener is in its life: `"listening"`, with or without demand;
   * `"paused"` by `pause()` or `LEV_OPT_DISABLED`; `"draining"` from `shutdown()`
   * until the last active connection has ended or was cut off; `"closed"` after
   * `close()`, `detach()` or a finished `shutdown()`.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 });
   * assertEquals(listener.state, "listening");
   * ```
   */
  get state(): "listening" | "paused" | "draining" | "closed" {
    if (this.#draining) return "draining";
    if (this.#holds & CLOSED) return "closed";
    return this.#holds & PAUSED ? "paused" : "listening";
  }

  /**
   * Why nothing is accepted now: `"paused"` by `pause()`, `"full"` by
   * `maxConnections`, `"backoff"` after a failed accept. Accepting goes on when
   * none is left.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 });
   * listener.pause();
   * assertEquals(listener.holds, ["paused"]);
   * ```
   */
  get holds(): readonly ("paused" | "full" | "backoff")[] {
    if (this.#holds & CLOSED) return [];
    const holds: ("paused" | "full" | "backoff")[] = [];
    if (this.#holds & PAUSED) holds.push("paused");
    if (this.#holds & FULL) holds.push("full");
    if (this.#holds & BACKOFF) holds.push("backoff");
    return holds;
  }

  /**
   * Counts since the listener was made: a snapshot.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 });
   * const { accepted, active } = listener.stats;
   * assertEquals([accepted, active], [0, 0]);
   * ```
   */
  get stats(): ListenerStats {
    const { accepted, ...failed } = this.#stats;
    const active = this.#active.size;
    return { accepted, active, parked: this.#parked ? 1 : 0, ...failed };
  }

  /**
   * Aborted when closing or draining begins, so that handlers can wind down.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const listener = listen({ port: 0 });
   * await listener.shutdown();
   * assertEquals(listener.signal.aborted, true);
   * ```
   */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /**
   * Settles at the listener's end: closed or detached, the address free, and no
   * callback running. Never rejects.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const listener = listen({ port: 0 });
   * listener.close();
   * await listener.finished;
   * assertEquals(listener.state, "closed");
   * ```
   */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /**
   * The most connections at a time whose callback's promise is pending. May be
   * changed at any time; a lower limit closes nothing, it lets them end.
   *
   * @throws {TypeError} When set to anything but a number.
   * @throws {RangeError} When set to a number that is neither a positive integer
   * nor `Infinity`.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 });
   * listener.maxConnections = 100;
   * assertEquals(listener.maxConnections, 100);
   * ```
   */
  get maxConnections(): number {
    return this.#maxConnections;
  }

  set maxConnections(max: number) {
    checkMaxConnections(max, "change the limit");
    this.#maxConnections = max;
    this.#checkLimit();
  }

  /**
   * Sets the callback and its data together, or takes them away:
   * `evconnlistener_set_cb`. Connections that are parked or in the kernel's queue
   * go to the new callback.
   *
   * @param callback Called for each connection from now on; `null` leaves
   * connections waiting.
   * @param data Given to the callback and to the accept error hook.
   * @throws {TypeError} If `callback` is neither a function nor `null`, or if an
   * `accept()` is waiting.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ hostname: "127.0.0.1", port: 0 });
   * listener.setCallback(async (conn, _listener, greeting) => {
   *   await conn.write(new TextEncoder().encode(greeting));
   * }, "hello");
   *
   * using client = await Deno.connect({ port: listener.addr.port });
   * assertEquals(await new Response(client.readable).text(), "hello");
   * ```
   */
  setCallback<D = undefined>(
    callback: ConnectionCallback<C, D> | null,
    data?: D,
  ): void {
    checkCallback("callback", callback, "set the callback");
    if (this.#holds & CLOSED) return;
    if (callback !== null && this.#waiting.length > 0) {
      throw new TypeError("Cannot set a callback as an accept() is waiting");
    }
    this.#callback = callback as ConnectionCallback<C, unknown> | null;
    this.#data = data;
    this.#update();
  }

  /**
   * Sets the accept error hook, or takes it away: `evconnlistener_set_error_cb`.
   *
   * @param callback Told of failures to accept from now on; with `null`, each
   * episode of failures is one `console.warn`.
   * @throws {TypeError} If `callback` is neither a function nor `null`.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * await using listener = listen({ port: 0 }, (conn) => conn.close());
   * listener.setErrorCallback((error, listener) => {
   *   console.error("Cannot accept, pausing for a second:", error);
   *   listener.pause();
   *   setTimeout(() => listener.resume(), 1000);
   * });
   * ```
   */
  setErrorCallback(callback: AcceptErrorCallback<C, unknown> | null): void {
    checkCallback("callback", callback, "set the error callback");
    this.#onAcceptError = callback;
  }

  /**
   * Takes the next connection. Calls that wait at the same time are served in
   * order.
   *
   * @returns The connection, which is the caller's.
   * @throws {TypeError} If a callback is set: it gets every connection.
   * @throws {Deno.errors.BadResource} If the listener is, or comes to, its end.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ hostname: "127.0.0.1", port: 0 });
   * using client = await Deno.connect({ port: listener.addr.port });
   * using conn = await listener.accept();
   * assertEquals(conn.remoteAddr, client.localAddr);
   * ```
   */
  accept(): Promise<C> {
    return new Promise((resolve, reject) => {
      this.#wait((conn) => {
        if (conn !== undefined) resolve(conn);
        else reject(new Deno.errors.BadResource("Listener has been closed"));
      });
    });
  }

  /**
   * Iterates over the connections until the listener's end. What the loop has
   * not asked for waits in the kernel's queue. Leaving the loop closes the
   * listener, as with `Deno.listen`.
   *
   * @returns An iterator whose connections are the caller's.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const listener = listen({ hostname: "127.0.0.1", port: 0 });
   * using _client = await Deno.connect({ port: listener.addr.port });
   * for await (const conn of listener) {
   *   conn.close();
   *   break;
   * }
   * assertEquals(listener.state, "closed");
   * ```
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<C> {
    return {
      next: () =>
        new Promise<IteratorResult<C>>((resolve) => {
          this.#wait((conn) => {
            if (conn !== undefined) resolve({ value: conn, done: false });
            else resolve({ value: undefined, done: true });
          });
        }),
      return: async (value) => {
        await this.close();
        return { value, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #wait(waiter: (conn: C | undefined) => void): void {
    if (this.#holds & CLOSED) return waiter(undefined);
    if (this.#callback !== null) {
      throw new TypeError("Cannot accept as a callback gets every connection");
    }
    this.#waiting.push(waiter);
    this.#update();
  }

  get #demand(): boolean {
    return this.#callback !== null || this.#waiting.length > 0;
  }

  get #wanted(): boolean {
    return this.#holds === 0 && this.#demand;
  }

  /** Must be called after every change of demand or holds. */
  #update(): void {
    const wanted = this.#wanted;
    const idle = !wanted && this.#accepting !== undefined;
    if (idle !== this.#idle) {
      this.#idle = idle;
      this.#keepAlive();
    }
    if (wanted && !this.#running) this.#run();
    // In a microtask: resume() and setCallback() return before they deliver.
    if (this.#deferred) queueMicrotask(() => this.#deliverHeard());
  }

  /** The accept loop: one at a time, and only while a connection is wanted. */
  async #run(): Promise<void> {
    this.#running = true;
    while (this.#wanted) {
      let conn: C;
      try {
        // The one await per connection. A parked connection is already there.
        conn = await (this.#accepting ??= this.#socket.accept());
      } catch (error) {
        this.#acceptFailed(error);
        continue;
      }
      if (this.#holds & CLOSED) break; // close() or detach() has taken it
      if (!this.#parked) this.#stats.accepted++; // a parked one is counted
      this.#retryDelay = MIN_BACKOFF; // a success ends both kinds of failure
      this.#abortedInARow = 0;
      // Whatever happened during the await is looked at here, and only here.
      this.#parked = !this.#wanted;
      if (this.#parked) break; // and stays in #accepting
      this.#accepting = undefined;
      if (this.#atLimit) this.#reject(conn); // with "queue", FULL holds instead
      else if (this.#deferred === undefined) this.#deliver(conn);
      else this.#defer(conn, this.#deferred);
    }
    this.#running = false;
  }

  #reject(conn: C): void {
    this.#stats.rejected++;
    conn[Symbol.dispose]();
  }

  /** Keeps a connection until its first byte is there. It counts toward the limit. */
  #defer(conn: C, deferred: DeferredConns<C>): void {
    deferred.add(conn);
    this.#checkLimit();
  }

  /** Delivers those that have spoken, full or not: they count already. */
  #deliverHeard(): void {
    while (this.#demand && (this.#holds & (PAUSED | CLOSED)) === 0) {
      const conn = this.#deferred?.shift();
      if (conn === undefined) break;
      this.#deliver(conn);
      this.#checkLimit();
    }
  }

  /** Hands a connection over. Whatever a callback throws ends here. */
  #deliver(conn: C): void {
    try {
      if (this.#hasTcpOptions) this.#tune(conn as Deno.Conn as Deno.TcpConn);
      if (this.#callback === null) {
        this.#waiting.shift()?.(conn);
      } else {
        const handled = this.#callback(conn, this, this.#data);
        // Only a promise makes the connection ours to count and to close.
        if (isPromise(handled)) this.#serve(conn, handled);
      }
    } catch (error) {
      this.#connectionFailed(error, conn);
    }
  }

  #tune(conn: Deno.TcpConn): void {
    if (this.#options.noDelay) conn.setNoDelay();
    if (this.#options.keepAlive) conn.setKeepAlive();
  }

  /** Counts a connection until its callback's promise settles, and closes it then. */
  async #serve(conn: C, handled: Promise<void>): Promise<void> {
    const slot = this.#active.add(conn);
    if (this.#limited) this.#checkLimit();
    let failure: { error: unknown } | undefined;
    try {
      await handled;
    } catch (error) {
      failure = { error };
    }
    conn[Symbol.dispose](); // no error if the callback has closed it
    this.#active.delete(slot);
    // The hook is told when it is over: it may shut down, or look at the counts.
    if (failure) this.#connectionFailed(failure.error, conn);
    // Without a limit and without a hold, nothing follows from it.
    if (this.#limited || this.#holds !== 0) {
      this.#holds &= ~BACKOFF; // its descriptor is free again
      this.#checkLimit();
      this.#settle();
    }
  }

  get #limited(): boolean {
    return this.#maxConnections !== Infinity;
  }

  get #atLimit(): boolean {
    if (!this.#limited) return false;
    const deferred = this.#deferred === undefined ? 0 : this.#deferred.size;
    return this.#active.size + deferred >= this.#maxConnections;
  }

  /** Looks at the limit again, after a change on either side of it. */
  #checkLimit(): void {
    if (this.#atLimit && this.#options.overflow !== "reject") {
      this.#holds |= FULL;
    } else {
      this.#holds &= ~FULL;
    }
    this.#update();
  }

  #connectionFailed(error: unknown, conn: C): void {
    conn[Symbol.dispose]();
    this.#stats.connectionErrors++;
    const hook = this.#options.onConnectionError;
    if (hook) {
      callHook(() => hook(error, conn, this));
    } else if (
      !isPeerGoneWhileServed(error) &&
      !(this.#active.isCutOff && isClosedHere(error))
    ) {
      console.error("Error in a connection callback:", error);
    }
  }

  #acceptFailed(error: unknown): void {
    this.#accepting = undefined;
    if (this.#holds & CLOSED) return;
    if (error instanceof Deno.errors.BadResource) {
      this.close(); // its owner closed the socket itself
    } else if (isPeerGoneBeforeAccept(error)) {
      this.#stats.aborted++;
      if (++this.#abortedInARow === MAX_ABORTED_IN_A_ROW) {
        this.#abortedInARow = 0;
        this.#backOff(MIN_BACKOFF);
      }
    } else {
      this.#stats.acceptErrors++;
      const first = this.#retryDelay === MIN_BACKOFF;
      this.#backOff(this.#retryDelay);
      this.#retryDelay = Math.min(this.#retryDelay * 2, MAX_BACKOFF);
      this.#reportAcceptError(toError(error), first);
    }
    this.#update();
  }

  #reportAcceptError(error: Error, first: boolean): void {
    const hook = this.#onAcceptError;
    if (hook !== null) {
      callHook(() => hook(error, this, this.#data));
    } else if (first) {
      console.warn(
        `Cannot accept on ${formatAddr(this.addr)}, trying again:`,
        errorCode(error) ?? error,
      );
    }
  }

  /** Waits without accepting, unless one of the connections ends before that. */
  #backOff(delay: number): void {
    clearTimeout(this.#retryTimer);
    this.#holds |= BACKOFF;
    this.#retryTimer = setTimeout(() => {
      this.#holds &= ~BACKOFF;
      this.#update();
    }, delay);
    if (!this.#refed) Deno.unrefTimer(this.#retryTimer);
  }

  /**
   * Stops accepting: `evconnlistener_disable`. The socket stays open; clients
   * that connect wait in the kernel's queue. While it is paused, the listener
   * does not keep the process alive.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 }, (conn) => conn.close());
   * listener.pause();
   * assertEquals(listener.state, "paused");
   * assertEquals(listener.holds, ["paused"]);
   * ```
   */
  pause(): void {
    this.#holds |= PAUSED;
    this.#update();
  }

  /**
   * Goes on accepting after `pause()`: `evconnlistener_enable`. What is parked or
   * queued is delivered after it returns, never from inside it.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 }, (conn) => conn.close());
   * listener.pause();
   * listener.resume();
   * assertEquals(listener.holds, []);
   * ```
   */
  resume(): void {
    this.#holds &= ~PAUSED;
    this.#update();
  }

  /**
   * Closes the socket. Nothing is delivered any more, a parked connection is
   * closed, iterations end and waiting `accept()` calls reject. Connections that
   * are being served are left alone.
   *
   * @returns A promise that resolves when the address can be listened on again.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const listener = listen({ port: 0 });
   * await listener.close();
   * await using again = listen({ port: listener.addr.port });
   * assertEquals([listener.state, again.state], ["closed", "listening"]);
   * ```
   */
  close(): Promise<void> {
    return this.#close((conn) => conn[Symbol.dispose]());
  }

  /** @param onUndelivered What becomes of connections that are accepted but not delivered. */
  #close(onUndelivered: (conn: C) => void): Promise<void> {
    if (this.#released === undefined) {
      // The address is free only when the accept in flight has settled: until then
      // even an unref'd listener keeps the process alive.
      if (this.#idle || !this.#refed) this.#socket.ref();
      const inHand = this.#end().map(async (conn) => onUndelivered(await conn));
      const putBack = this.#file?.setAside();
      // Its owner may have closed it already: that is BadResource.
      const closed = [Promise.try(() => this.#socket.close()), ...inHand];
      this.#released = this.#release(closed, putBack);
      this.#ending.abort();
    }
    return this.#released;
  }

  /**
   * Closes the listener with care: takes and delivers the connections that the
   * kernel has already completed, closes the socket, and waits for the active
   * connections. `state` is `"draining"` from the beginning, and `signal` is
   * aborted.
   *
   * @param options How long to wait.
   * @param options.timeout How many ms to wait before the connections that are
   * still active are closed; 0 closes them at once. Default: `Infinity`.
   * @param options.drainBacklog Whether to deliver what the kernel has completed.
   * Not done while paused or without a callback. Default: `true`.
   * @returns How many connections completed, and how many were cut off.
   * @throws {TypeError} If `timeout` is not a number.
   * @throws {RangeError} If `timeout` is negative, NaN, or above 2³¹ - 1 and not
   * `Infinity`.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const where = { hostname: "127.0.0.1", port: 0 };
   * const listener = listen(where, async (conn) => {
   *   await conn.write(new TextEncoder().encode("hello"));
   * });
   * using client = await Deno.connect({ port: listener.addr.port });
   * assertEquals(await listener.shutdown(), { completed: 1, aborted: 0 });
   * assertEquals(await new Response(client.readable).text(), "hello");
   * ```
   */
  async shutdown(
    options: { timeout?: number; drainBacklog?: boolean } = {},
  ): Promise<ShutdownResult> {
    const { timeout = Infinity, drainBacklog = true } = options;
    checkTimeout(timeout);
    const completed = this.#active.completed;
    const expired = Promise.withResolvers<void>();
    const timer = timeout === Infinity
      ? undefined
      : setTimeout(expired.resolve, timeout);
    this.#draining ||= this.#released === undefined;
    this.#ending.abort();
    const drain = drainBacklog && timeout > 0 ? this.#drain() : undefined;
    const drained = drain && await Promise.race([drain, expired.promise]);
    // The accept in flight may have brought one more in the last moment.
    const released = drained
      ? this.#close((conn) => this.#deliverLast(conn))
      : this.close();
    if (timeout > 0) await Promise.race([this.finished, expired.promise]);
    clearTimeout(timer);
    this.#active.cutOff();
    this.#draining = false;
    await Promise.all([released, drain]);
    return {
      completed: this.#active.completed - completed,
      aborted: this.#active.aborted,
    };
  }

  /**
   * Lets the accept loop empty the kernel's queue: it is empty when nothing comes
   * while the event loop turns. What comes after the drain has begun stands behind a
   * queue's length of others at most, so that clients who keep coming do not make it
   * longer.
   *
   * @returns Whether it went that far.
   */
  async #drain(): Promise<boolean> {
    const taken = () => this.#stats.accepted + this.#stats.aborted;
    const enough = taken() + this.#backlog + 1;
    while (
      this.#callback !== null && (this.#holds & (PAUSED | CLOSED)) === 0 &&
      taken() < enough
    ) {
      const before = [taken(), this.#holds, this.#deferred?.size];
      if (this.#holds !== 0) await delay(MIN_BACKOFF);
      // Each connection may have a read and a write that are completed first, and
      // each deferred one the read of its first byte.
      await caughtUp(2 * this.#active.size + (this.#deferred?.size ?? 0));
      const after = [taken(), this.#holds, this.#deferred?.size];
      if (after.some((value, i) => value !== before[i])) continue;
      if (this.#holds === 0) return true; // an accept stays in flight
      if (this.#active.size === 0) return false; // nothing will end the hold
    }
    return taken() >= enough;
  }

  #deliverLast(conn: C): void {
    // It is over the limit, or its first byte will not be waited for.
    if (this.#atLimit || this.#deferred) return conn[Symbol.dispose]();
    this.#stats.accepted++;
    this.#deliver(conn);
  }

  /**
   * Ends the listener and gives the socket back, still listening. What is parked
   * or in flight is not lost: the returned listener yields it first.
   *
   * @returns A listener on the same socket.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const where = { hostname: "127.0.0.1", port: 0 };
   * const listener = listen(where, (conn) => conn.close());
   * using socket = listener.detach();
   *
   * using client = await Deno.connect({ port: socket.addr.port });
   * using conn = await socket.accept();
   * assertEquals(conn.remoteAddr, client.localAddr);
   * ```
   */
  detach(): Deno.Listener<C, A> {
    if (this.#released === undefined) {
      const inHand = this.#end();
      if (inHand.length > 0) this.#socket = new Handover(this.#socket, inHand);
      this.#released = this.#release();
    }
    return this.#socket;
  }

  /**
   * Frees the listener: `evconnlistener_free`. With `LEV_OPT_CLOSE_ON_FREE` that
   * is `close()`, without it `detach()`; `socket` then goes on listening.
   *
   * @example Usage
   * ```ts
   * import { LEV_OPT_CLOSE_ON_FREE, listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const listener = listen({ port: 0, flags: LEV_OPT_CLOSE_ON_FREE });
   * listener.free();
   * assertEquals(listener.state, "closed");
   * ```
   */
  free(): void {
    if (this.flags & LEV_OPT_CLOSE_ON_FREE) this.close();
    else this.detach();
  }

  /** Ends demand, and gives what is accepted but not delivered to the caller. */
  #end(): Promise<C>[] {
    const inHand = (this.#deferred?.takeAll() ?? [])
      .map((conn) => new Promise<C>((resolve) => resolve(conn)));
    if (this.#accepting) inHand.push(this.#accepting);
    this.#accepting = undefined;
    this.#parked = false;
    this.#holds |= CLOSED;
    clearTimeout(this.#retryTimer);
    for (const waiter of this.#waiting.splice(0)) waiter(undefined);
    return inHand;
  }

  async #release(
    closed: unknown[] = [],
    afterwards?: () => void,
  ): Promise<void> {
    await Promise.allSettled(closed);
    afterwards?.();
    this.#gone = true;
    this.#settle();
  }

  #settle(): void {
    if (this.#gone && this.#active.size === 0) this.#finished.resolve();
  }

  /**
   * Makes the listener keep the process alive while it accepts, as it does by
   * default.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * using listener = listen({ port: 0 }, (conn) => conn.close());
   * listener.unref();
   * listener.ref();
   * ```
   */
  ref(): void {
    this.#refed = true;
    this.#keepAlive();
    if (this.#retryTimer !== undefined) Deno.refTimer(this.#retryTimer);
  }

  /**
   * Lets the process end although the listener accepts. On a TLS listener, Deno
   * cannot do it for an accept that is in flight.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * using listener = listen({ port: 0 }, (conn) => conn.close());
   * listener.unref(); // the program may end
   * ```
   */
  unref(): void {
    this.#refed = false;
    this.#keepAlive();
    if (this.#retryTimer !== undefined) Deno.unrefTimer(this.#retryTimer);
  }

  #keepAlive(): void {
    if (this.#holds & CLOSED) return;
    if (this.#refed && !this.#idle) this.#socket.ref();
    else this.#socket.unref();
  }

  /**
   * `close()`, for `using`.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * using listener = listen({ port: 0 }, (conn) => conn.close());
   * console.log(listener.addr.port);
   * ```
   */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * `shutdown()`, for `await using`.
   *
   * @returns A promise that resolves when the last connection has ended.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * await using listener = listen({ port: 0 }, (conn) => conn.close());
   * console.log(listener.addr.port);
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /** One line for `console.log`. */
  [Symbol.for("Deno.customInspect")](
    inspect: typeof Deno.inspect,
    options: Deno.InspectOptions,
  ): string {
    const { state, holds, stats } = this;
    const line = { addr: formatAddr(this.addr), state, holds, ...stats };
    return `ConnListener ${
      inspect(line, { ...options, compact: true, breakLength: Infinity })
    }`;
  }
}

/**
 * `Deno.listen` that no client can bring down: `evconnlistener_new_bind`. Takes
 * `Deno.listen`'s own options and the listener's. A negative `tcpBacklog` is
 * Deno's default. Deno's own errors, such as `AddrInUse`, pass through.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection. Without one, nothing is accepted
 * until there is one, or until somebody iterates or calls `accept()`.
 * @param data Given to the callback and to the accept error hook.
 * @returns A listener, already listening.
 * @throws {TypeError} If an option or the callback is of a wrong type, if flags
 * exclude each other, or if a flag of TCP is set for another transport.
 * @throws {RangeError} If `flags` has unknown bits, `maxConnections` is neither a
 * positive integer nor `Infinity`, or `tcpBacklog` is 0 or no integer.
 * @throws {Deno.errors.NotSupported} If Deno cannot do what a flag asks for:
 * `explainFlags()` says why.
 *
 * @example Callback
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const where = { hostname: "127.0.0.1", port: 0 };
 * await using listener = listen(where, async (conn) => {
 *   await conn.write(new TextEncoder().encode("hello"));
 * });
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 *
 * @example Iterator
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const listener = listen({ hostname: "127.0.0.1", port: 0 });
 * using client = await Deno.connect({ port: listener.addr.port });
 * for await (const conn of listener) {
 *   assertEquals(conn.remoteAddr, client.localAddr);
 *   conn.close();
 *   break; // closes the listener
 * }
 * ```
 */
export function listen<D = undefined>(
  options: Deno.TcpListenOptions & { transport?: "tcp" } & ListenerOptions,
  callback?: ConnectionCallback<Deno.TcpConn, D> | null,
  data?: D,
): ConnListener<Deno.TcpConn>;
/**
 * The same for a Unix socket. Closing it removes its file, unless somebody else
 * has put a file in its place; `AddrInUse` says what to do about a stale one.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection.
 * @param data Given to the callback and to the accept error hook.
 * @returns A listener, already listening.
 * @throws {Deno.errors.AddrInUse} If there is a file at the path already.
 */
export function listen<D = undefined>(
  options:
    & Deno.UnixListenOptions
    & { transport: "unix" }
    & ListenerOptions<Deno.UnixConn>,
  callback?: ConnectionCallback<Deno.UnixConn, D> | null,
  data?: D,
): ConnListener<Deno.UnixConn, Deno.UnixAddr>;
/**
 * The same for a VSOCK socket. Without `--unstable-vsock` Deno ends the process
 * here, and nothing tells beforehand whether that flag was given.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection.
 * @param data Given to the callback and to the accept error hook.
 * @returns A listener, already listening.
 */
export function listen<D = undefined>(
  options:
    & Deno.VsockListenOptions
    & { transport: "vsock" }
    & ListenerOptions<Deno.VsockConn>,
  callback?: ConnectionCallback<Deno.VsockConn, D> | null,
  data?: D,
): ConnListener<Deno.VsockConn, Deno.VsockAddr>;
export function listen(
  // deno-lint-ignore no-explicit-any
  options: any,
  // deno-lint-ignore no-explicit-any
  callback?: ConnectionCallback<any, any> | null,
  data?: unknown,
  // deno-lint-ignore no-explicit-any
): ConnListener<any, any> {
  const bind = listenOptions(options, callback);
  try {
    const socket = Deno.listen(bind);
    madeHere.add(socket);
    return new ConnListener(socket, options, callback, data);
  } catch (error) {
    throw bind.transport === "unix"
      ? explainAddrInUse(error, bind.path)
      : error;
  }
}

/**
 * `Deno.listenTls` that no client can bring down. Takes its own options and the
 * listener's. The handshake takes place when the connection is first read or
 * written, so a client that never finishes it holds up nobody else.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, the certificate and its key, and the
 * listener's options. `noDelay` and `keepAlive` are not available with TLS.
 * @param callback Called for each connection.
 * @param data Given to the callback and to the accept error hook.
 * @returns A listener, already listening.
 * @throws {TypeError} As {@linkcode listen}, and if there is no certificate or key.
 * @throws {RangeError} As {@linkcode listen}.
 * @throws {Deno.errors.NotSupported} As {@linkcode listen}, and if `noDelay` or
 * `keepAlive` is set.
 *
 * @example Usage
 * ```ts
 * import { listenTls } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const cert = await Deno.readTextFile("tests/testdata/localhost.crt");
 * const key = await Deno.readTextFile("tests/testdata/localhost.key");
 * await using listener = listenTls({ port: 0, cert, key }, async (conn) => {
 *   await conn.write(new TextEncoder().encode("hello"));
 * });
 *
 * const { port } = listener.addr;
 * using client = await Deno.connectTls({ hostname: "localhost", port, caCerts: [cert] });
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 */
export function listenTls<D = undefined>(
  options:
    & Deno.ListenTlsOptions
    & Deno.TlsCertifiedKeyPem
    & ListenerOptions<Deno.TlsConn>,
  callback?: ConnectionCallback<Deno.TlsConn, D> | null,
  data?: D,
): ConnListener<Deno.TlsConn> {
  const bind = listenOptions(options, callback);
  checkTransport(options, "TLS");
  const socket = Deno.listenTls(bind);
  madeHere.add(socket);
  return new ConnListener(socket, options, callback, data);
}

/** Calls a hook. What it throws, at once or later, must not end the process. */
function callHook(hook: () => unknown): void {
  Promise.try(hook).catch((error) => {
    console.error("Error in a hook of a listener:", error);
  });
}

function isPromise(value: unknown): value is Promise<void> {
  return typeof (value as Promise<void> | undefined)?.then === "function";
}

function toError(error: unknown): Error {
  if (error instanceof Error) return error;
  const message = typeof error === "string" ? error : Deno.inspect(error);
  return new Error(message, { cause: error });
}

function formatAddr(addr: Deno.Addr): string {
  switch (addr.transport) {
    case "tcp":
    case "udp":
      return addr.hostname.includes(":")
        ? `[${addr.hostname}]:${addr.port}`
        : `${addr.hostname}:${addr.port}`;
    case "vsock":
      return `vsock:${addr.cid}:${addr.port}`;
    default:
      return addr.path;
  }
}
