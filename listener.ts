/**
 * The connection listener: {@linkcode listen}, {@linkcode listenTls} and the
 * {@linkcode ConnListener} that both of them make.
 *
 * When a connection is accepted, and when not, is in `internal/acceptor.ts`. Here is
 * what becomes of it.
 *
 * @module
 */
import { Acceptor } from "./internal/acceptor.ts";
import { ActiveConns } from "./internal/active_conns.ts";
import { formatAddr } from "./internal/addr.ts";
import { close, dispose, handshakeFailure } from "./internal/conns.ts";
import { Deadline } from "./internal/deadline.ts";
import { drain } from "./internal/drain.ts";
import {
  errorCode,
  isCancelled,
  isPeerGoneWhileServed,
  isSame,
  toError,
} from "./internal/failures.ts";
import { callHook, isPromise, print } from "./internal/hooks.ts";
import { Queue } from "./internal/queue.ts";
import {
  applyFlags,
  checkCallback,
  checkMaxConnections,
  checkSocket,
  checkTimeout,
  readOnce,
  Settings,
} from "./internal/settings.ts";
import { Socket } from "./internal/socket.ts";
import type { Stage } from "./internal/stage.ts";
import { stagesAround } from "./internal/stages.ts";
import type {
  AcceptErrorCallback,
  ConnectionCallback,
  ListenerOptions,
  ListenerStats,
  RejectReason,
  ShutdownOptions,
  ShutdownResult,
} from "./internal/types.ts";
import { explainAddrInUse } from "./internal/unix_socket.ts";
import { LEV_OPT_CLOSE_ON_FREE, LEV_OPT_DISABLED } from "./flags.ts";

export type {
  AcceptErrorCallback,
  ConnectionCallback,
  ConnectionErrorCallback,
  ListenerOptions,
  ListenerStats,
  ProxyHeader,
  RejectReason,
  ShutdownOptions,
  ShutdownResult,
} from "./internal/types.ts";
export { proxyHeader } from "./internal/proxy_protocol.ts";

// deno-lint-ignore no-explicit-any
type AnyCallback<C extends Deno.Conn> = ConnectionCallback<C, any>;

/**
 * A `Deno.Listener` that no client can end, with a few more verbs.
 *
 * {@linkcode listen} and {@linkcode listenTls} make one; the constructor makes
 * one around a `Deno.Listener` that you already have. Take its connections with a
 * callback, with `for await`, or with `accept()`. After its end every method does
 * nothing, except `accept()`, which rejects (`struct evconnlistener`).
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam A The address's type, which follows the connection's.
 * @category Listening
 *
 * @example Around a listener that is there already
 * ```ts
 * import { ConnListener } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
 * await using listener = new ConnListener(
 *   socket,
 *   { maxConnections: 10 },
 *   (conn) => conn.readable.pipeTo(conn.writable),
 * );
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * await client.write(new TextEncoder().encode("hello"));
 * await client.closeWrite();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 */
export class ConnListener<
  C extends Deno.Conn = Deno.TcpConn,
  A extends Deno.Addr = C["localAddr"],
> implements Deno.Listener<C, A>, AsyncDisposable {
  /** The `LEV_OPT_*` flags that the listener was made with. */
  readonly flags: number;
  readonly #settings: Settings<C>;
  readonly #socket: Socket<C, A>;
  readonly #stage: Stage<C, A>; // the outermost
  readonly #acceptor: Acceptor<C, A>;
  #shown: Deno.Listener<C, A>;

  // Demand: a callback is set, or somebody waits. Waiters get undefined at the end.
  #callback: AnyCallback<C> | null;
  #data: unknown;
  readonly #waiters = new Queue<(conn: C | undefined) => void>();

  #onAcceptError: AcceptErrorCallback<C, unknown> | null;
  #maxConnections: number;
  readonly #active = new ActiveConns<C>();
  readonly #counts = {
    /** Accepted, and not in a stage or parked any more. */
    accepted: 0,
    rejected: 0,
    aborted: 0,
    timedOut: 0,
    acceptErrors: 0,
    connectionErrors: 0,
  };

  // The end: released, then nobody active.
  readonly #ending = new AbortController();
  readonly #cutOff = new Deadline();
  #shutdown: Promise<ShutdownResult> | undefined;
  #isDraining = false;
  #released: Promise<void> | undefined;
  readonly #finished = Promise.withResolvers<void>();

  /**
   * Makes a listener around a socket that is listening already. Flags that are
   * about making the socket have no effect on it (`evconnlistener_new`).
   *
   * @param socket What to accept from. It is the listener's from now on.
   * @param options The listener's options.
   * @param callback Called for each connection. Without one, nothing is accepted
   * until there is one, or until somebody iterates or calls `accept()`.
   * @throws {TypeError} If the socket, an option or the callback is of a wrong
   * type, or with `LEV_OPT_DEFERRED_ACCEPT`, which is for `listen()` only.
   * @throws {RangeError} If `flags` has unknown bits, or `maxConnections` is
   * neither a positive integer nor `Infinity`.
   * @throws {Deno.errors.NotSupported} If `noDelay` or `keepAlive` is set and the
   * transport is not TCP.
   */
  constructor(
    socket: Deno.Listener<C, A>,
    options?: ListenerOptions<C>,
    callback?: ConnectionCallback<C> | null,
  );
  /**
   * The same with data for the callback (`evconnlistener_new`).
   *
   * @param socket What to accept from. It is the listener's from now on.
   * @param options The listener's options.
   * @param callback Called for each connection.
   * @param data Given to the callback and to the accept error hook.
   */
  constructor(
    socket: Deno.Listener<C, A>,
    options: ListenerOptions<C>,
    // deno-lint-ignore no-explicit-any
    callback: ConnectionCallback<C, any> | null,
    data: NonNullable<unknown> | null,
  );
  constructor(
    socket: Deno.Listener<C, A>,
    options: ListenerOptions<C> = {},
    callback?: AnyCallback<C> | null,
    data?: unknown,
  ) {
    checkSocket(socket);
    checkCallback("callback", callback);
    this.#settings = options instanceof Settings
      ? options
      : Settings.forAdopted(options);
    this.#socket = Socket.of(socket);
    const { transport } = this.#socket;
    this.#settings.checkTransport(transport);
    this.flags = this.#settings.flags;
    this.#shown = this.#socket.shown;
    this.#callback = callback ?? null;
    this.#data = data;
    this.#onAcceptError = this.#settings.onAcceptError ?? null;
    this.#maxConnections = this.#settings.maxConnections;
    this.#stage = stagesAround(this.#socket, transport, this.#settings, {
      isFull: () => this.#isFull && this.#released === undefined,
      onEnter: () => this.#isLimited && this.#checkLimit(),
      turnAway: (conn, why) => this.#turnAway(conn, why),
      onTimeOut: () => this.#counts.timedOut++,
      onError: (error, conn) => this.#tell(error, conn),
    });
    this.#acceptor = new Acceptor(this.#stage, {
      hasDemand: () => this.#callback !== null || this.#waiters.size > 0,
      take: (conn) => this.#deliver(conn),
      onGone: () => this.#counts.aborted++,
      onFailure: (error, isFirst) => this.#acceptFailed(error, isFirst),
      onClosed: () => this.#close(),
    }, this.#socket.refed);
    if (this.flags & LEV_OPT_DISABLED) this.#acceptor.hold("paused");
    if (this.#settings.signal) this.#follow(this.#settings.signal);
    this.#acceptor.update();
  }

  #follow(signal: AbortSignal): void {
    const abort = () => void this.#shutDown(0, false);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    this.#finished.promise.then(() =>
      signal.removeEventListener("abort", abort)
    );
  }

  /**
   * What is listened on (`evconnlistener_get_fd`). After `detach()`, or `free()`
   * without `LEV_OPT_CLOSE_ON_FREE`, what goes on listening.
   */
  get socket(): Deno.Listener<C, A> {
    return this.#shown;
  }

  /**
   * The address that is listened on. With port 0 it has the port that the system
   * has picked.
   */
  get addr(): A {
    return this.#socket.addr;
  }

  /**
   * Where the listener is in its life:
   *
   * - `"listening"`: it accepts connections when somebody wants them;
   * - `"paused"`: by `pause()` or `LEV_OPT_DISABLED`;
   * - `"draining"`: from `shutdown()` until the last active connection has ended;
   * - `"closed"`: after `close()`, `detach()` or a finished `shutdown()`.
   */
  get state(): "listening" | "paused" | "draining" | "closed" {
    if (this.#isDraining) return "draining";
    if (this.#released !== undefined) return "closed";
    return this.holds.includes("paused") ? "paused" : "listening";
  }

  /**
   * Why nothing is accepted now, in the order in which the reasons began:
   * `"paused"` by `pause()`, `"full"` by `maxConnections`, `"backoff"` after a failed
   * accept. Accepting goes on when none is left.
   */
  get holds(): readonly string[] {
    return this.#acceptor.holds;
  }

  /** What the listener has counted, and what it has now: a snapshot. */
  get stats(): ListenerStats {
    const { accepted, ...failed } = this.#counts;
    const { parked } = this.#acceptor;
    return {
      accepted: accepted + parked + this.#stage.waiting,
      active: this.#active.size,
      parked,
      waiting: this.#stage.waiting,
      ...failed,
    };
  }

  /**
   * Aborted when closing or draining begins, so that callbacks can end in time.
   *
   * @example A callback that ends when the listener does
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * const listener = listen({ port: 0 }, async (conn, { signal }) => {
   *   await conn.readable.pipeTo(conn.writable, { signal }).catch(() => {});
   * });
   * using _client = await Deno.connect({ port: listener.addr.port });
   * await listener.shutdown();
   * ```
   */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /**
   * Resolves at the listener's end: closed or detached, the address free, and no
   * callback running. Never rejects.
   */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /**
   * The most connections at a time, as in {@linkcode ListenerOptions}. May be
   * changed at any time; a lower limit closes nothing, it lets them end.
   *
   * @throws {TypeError} When set to anything but a number.
   * @throws {RangeError} When set to a number that is neither a positive integer
   * nor `Infinity`.
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
   * Sets the callback and its data together, or takes them away. Connections that
   * are parked or in the kernel's queue go to the new callback
   * (`evconnlistener_set_cb`).
   *
   * @typeParam D The type of `data`.
   * @param callback Called for each connection from now on; `null` leaves
   * connections waiting.
   * @param data Given to the callback and to the accept error hook.
   * @throws {TypeError} If `callback` is neither a function nor `null`, or if an
   * `accept()` is waiting.
   *
   * @example A new callback while the service runs
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * const say = (conn: Deno.TcpConn, _: unknown, text: string) =>
   *   conn.write(new TextEncoder().encode(text));
   * await using listener = listen({ port: 0 }, say, "old");
   * listener.setCallback(say, "new");
   *
   * using client = await Deno.connect({ port: listener.addr.port });
   * assertEquals(await new Response(client.readable).text(), "new");
   * ```
   */
  setCallback<D = undefined>(
    callback: ConnectionCallback<C, D> | null,
    ...data: undefined extends D ? [data?: D] : [data: D]
  ): void {
    checkCallback("callback", callback, "set the callback");
    if (this.#released !== undefined) return;
    if (callback && this.#waiters.size > 0) {
      throw new TypeError("Cannot set a callback as an accept() is waiting");
    }
    this.#callback = callback ?? null;
    this.#data = data[0];
    this.#acceptor.update();
  }

  /**
   * Sets the hook that is told of failures to accept, or takes it away
   * (`evconnlistener_set_error_cb`).
   *
   * @param callback Told of failures from now on; with `null`, each episode of
   * failures is one `console.warn`.
   * @throws {TypeError} If `callback` is neither a function nor `null`.
   */
  setErrorCallback(callback: AcceptErrorCallback<C, unknown> | null): void {
    checkCallback("callback", callback, "set the error callback");
    this.#onAcceptError = callback ?? null;
  }

  /**
   * Takes the next connection. Calls that wait at the same time are served in
   * order.
   *
   * @returns The connection. It is yours to close.
   * @throws {TypeError} If a callback is set: it gets every connection.
   * @throws {Deno.errors.BadResource} If the listener is, or comes to, its end. Its
   * address can be listened on again then.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 });
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
   * No client can end the loop. What you do with the connections is your own: a
   * handler that nobody awaits can still end the process.
   *
   * @returns An iterator. Its connections are yours to close.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * const listener = listen({ port: 0 });
   * using client = await Deno.connect({ port: listener.addr.port });
   * for await (const conn of listener) {
   *   await conn.write(new TextEncoder().encode("hello"));
   *   conn.close();
   *   break; // closes the listener
   * }
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
    if (this.#released !== undefined) {
      this.#released.then(() => waiter(undefined));
      return;
    }
    if (this.#callback !== null) {
      throw new TypeError("Cannot accept as a callback gets every connection");
    }
    this.#waiters.push(waiter);
    this.#acceptor.update();
  }

  #deliver(conn: C): void {
    this.#counts.accepted++;
    if (this.#callback === null) this.#waiters.shift()!(conn);
    else this.#call(this.#callback, conn);
    if (this.#isLimited) this.#checkLimit();
  }

  /** Whatever a callback throws ends here. */
  #call(callback: AnyCallback<C>, conn: C): void {
    try {
      const handled: unknown = callback(conn, this, this.#data);
      // Only a promise makes the connection ours to count and to close.
      if (isPromise(handled)) this.#serve(conn, handled);
    } catch (error) {
      this.#callbackFailed(error, conn);
    }
  }

  /** Counts a connection until its callback's promise settles, and closes it then. */
  async #serve(conn: C, handled: PromiseLike<unknown>): Promise<void> {
    const slot = this.#active.add(conn);
    const handshake = handshakeFailure(conn);
    try {
      await handled;
      dispose(conn); // the callback may have closed it
    } catch (error) {
      this.#callbackFailed(error, conn, handshake);
    }
    this.#active.delete(slot);
    this.#freed();
  }

  /** Closes the connection, and tells of the failure later: places are freed first. */
  async #callbackFailed(
    error: unknown,
    conn: C,
    handshake?: Promise<unknown>,
  ): Promise<void> {
    const wasOpen = close(conn);
    const failure = await handshake;
    if (isCancelled(error)) {
      if (!wasOpen) return;
    } else if (failure !== undefined && isSame(failure, error)) {
      return void this.#counts.aborted++;
    }
    if (!isPeerGoneWhileServed(error)) this.#tell(error, conn);
  }

  #tell(error: unknown, conn: C): void {
    this.#counts.connectionErrors++;
    const hook = this.#settings.onConnectionError;
    if (hook) callHook(() => hook(error, conn, this));
    else print(console.error, "Error in a connection callback:", error);
  }

  #acceptFailed(thrown: unknown, isFirst: boolean): void {
    this.#counts.acceptErrors++;
    const hook = this.#onAcceptError;
    const error = toError(thrown);
    if (hook !== null) {
      callHook(() => hook(error, this, this.#data));
    } else if (isFirst) {
      const what = `Cannot accept on ${formatAddr(this.addr)}, trying again:`;
      print(console.warn, what, errorCode(error) || error);
    }
  }

  get #isLimited(): boolean {
    return this.#maxConnections !== Infinity;
  }

  get #isFull(): boolean {
    return this.#active.size + this.#stage.waiting >= this.#maxConnections;
  }

  /** Looks at the limit again, after a change on either side of it. */
  #checkLimit(): void {
    if (this.#isFull && this.#settings.overflow === "queue") {
      this.#acceptor.hold("full");
    } else {
      this.#acceptor.release("full");
    }
  }

  /** A connection is closed: there is a descriptor again, and perhaps a place. */
  #freed(): void {
    if (!this.#isLimited && !this.#acceptor.isHeld) return; // nothing follows
    this.#acceptor.retry();
    this.#checkLimit();
  }

  /** Closes a connection that is not to be delivered. */
  #turnAway(conn: C, why: false | RejectReason): void {
    dispose(conn);
    this.#counts.accepted++;
    if (why) this.#counts.rejected++;
    else this.#counts.aborted++;
    this.#freed();
  }

  /**
   * Stops accepting. The socket stays open, and clients that connect wait in the
   * kernel's queue. While it is paused, the listener does not keep the process
   * alive (`evconnlistener_disable`).
   *
   * Deno cannot cancel an accept: one connection that comes after this may be
   * accepted already. It is parked, and delivered first.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 }, (conn) => conn.close());
   * listener.pause();
   * assertEquals(listener.holds, ["paused"]);
   * listener.resume();
   * ```
   */
  pause(): void {
    this.#acceptor.hold("paused");
  }

  /**
   * Goes on accepting after `pause()`. What is parked or queued is delivered
   * after it returns, never from inside it (`evconnlistener_enable`).
   */
  resume(): void {
    this.#acceptor.release("paused");
  }

  /**
   * Makes the listener keep the process alive while it accepts, as it does by
   * default.
   */
  ref(): void {
    this.#acceptor.refed = true;
  }

  /**
   * Lets the process end although the listener accepts. On a TLS listener, Deno
   * cannot do it for an accept that is in flight.
   */
  unref(): void {
    this.#acceptor.refed = false;
  }

  /**
   * Closes the socket. Nothing is delivered any more, a parked connection is
   * closed, iterations end and waiting `accept()` calls reject. Connections that
   * are being served are left alone.
   *
   * @returns A promise that resolves when the address can be listened on again.
   * Never rejects.
   *
   * @example Usage
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * const listener = listen({ port: 0 });
   * const { port } = listener.addr;
   * await listener.close();
   * await using again = listen({ port });
   * ```
   */
  close(): Promise<void> {
    return this.#close();
  }

  #close(): Promise<void> {
    this.#end((inHand) => {
      for (const item of inHand) {
        if (item instanceof Promise) item.then(dispose, () => {});
        else dispose(item);
      }
      this.#ending.abort();
      // Last: what runs after it, in this turn, costs clients that connect.
      return this.#socket.release();
    });
    return this.#released!;
  }

  /**
   * Closes the listener with care: delivers the connections that wait in the
   * kernel's queue, closes the socket, and waits for the active connections.
   * Meanwhile `state` is `"draining"`, and `signal` is aborted.
   *
   * The socket is closed as soon as the queue is empty. A client that connects just
   * then can still be reset. A second call joins the first, and may shorten the wait.
   * Connections in a TLS handshake are cut off, but Deno keeps their file descriptors
   * until their clients leave.
   *
   * @param options How long to wait, and whether to drain the queue.
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
   * const listener = listen(
   *   { port: 0 },
   *   (conn) => conn.write(new TextEncoder().encode("hello")),
   * );
   * using client = await Deno.connect({ port: listener.addr.port });
   * const result = await listener.shutdown({ timeout: 10_000 });
   * assertEquals(result, { completed: 1, aborted: 0 });
   * ```
   */
  async shutdown(options: ShutdownOptions = {}): Promise<ShutdownResult> {
    const timeout = options.timeout ?? Infinity;
    checkTimeout(timeout);
    return await this.#shutDown(timeout, options.drainBacklog ?? true);
  }

  #shutDown(timeout: number, drainBacklog: boolean): Promise<ShutdownResult> {
    this.#cutOff.within(timeout);
    if (this.#shutdown === undefined) {
      const { promise, resolve } = Promise.withResolvers<ShutdownResult>();
      this.#shutdown = promise; // before anybody is told
      resolve(this.#drainAndClose(drainBacklog));
    }
    return this.#shutdown;
  }

  async #drainAndClose(drainBacklog: boolean): Promise<ShutdownResult> {
    const { completed } = this.#active;
    this.#isDraining = this.#released === undefined;
    this.#ending.abort();
    const drained = drainBacklog && !this.#cutOff.isOver && this.#drain();
    if (drained) await Promise.race([drained, this.#cutOff.over]);
    const closed = this.#close();
    if (!this.#cutOff.isOver) {
      await Promise.race([this.#finished.promise, this.#cutOff.over]);
    }
    this.#active.cutOff();
    this.#isDraining = false;
    await Promise.all([closed, drained]);
    return {
      completed: this.#active.completed - completed,
      aborted: this.#active.aborted,
    };
  }

  #drain(): Promise<void> {
    return drain({
      acceptor: this.#acceptor,
      stage: this.#stage,
      socket: this.#socket,
      hasCallback: () => this.#callback !== null,
      isServing: () => this.#active.size > 0,
    });
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
   * const listener = listen({ port: 0 }, (conn) => conn.close());
   * using socket = listener.detach();
   *
   * using client = await Deno.connect({ port: socket.addr.port });
   * using conn = await socket.accept();
   * assertEquals(conn.remoteAddr, client.localAddr);
   * ```
   */
  detach(): Deno.Listener<C, A> {
    this.#end((inHand) => {
      this.#shown = this.#socket.handOver(inHand, this.#acceptor.refed);
    });
    return this.#shown;
  }

  /**
   * Frees the listener: with `LEV_OPT_CLOSE_ON_FREE` that is `close()`, without it
   * `detach()`, and `socket` goes on listening (`evconnlistener_free`).
   */
  free(): void {
    if (this.flags & LEV_OPT_CLOSE_ON_FREE) this.close();
    else this.detach();
  }

  /** Ends demand, and gives what is accepted and not delivered to the caller, once. */
  #end(release: (inHand: (C | Promise<C>)[]) => void | Promise<void>): void {
    if (this.#released !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#released = promise;
    this.#counts.accepted += this.#acceptor.parked + this.#stage.waiting;
    const waiters = this.#waiters.takeAll();
    promise.then(() => {
      for (const waiter of waiters) waiter(undefined);
      return this.#active.emptied();
    }).then(() => {
      this.#cutOff.clear();
      this.#finished.resolve();
    });
    resolve(release(this.#acceptor.stop()));
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * `shutdown()`, for `await using`.
   *
   * @returns A promise that resolves when the last connection has ended.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /**
   * One line for `console.log`.
   *
   * @ignore
   */
  [Symbol.for("Deno.customInspect")](
    inspect: typeof Deno.inspect,
    options: Deno.InspectOptions,
  ): string {
    if (!(#socket in this)) return "ConnListener {}"; // the prototype
    const { state, holds, stats } = this;
    const line = { addr: formatAddr(this.addr), state, holds, ...stats };
    return `ConnListener ${
      inspect(line, { ...options, compact: true, breakLength: Infinity })
    }`;
  }
}

/**
 * Listens on a Unix socket. Closing it removes its file, unless somebody else has put
 * a file in its place; `AddrInUse` says what to do about one that was left behind.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection.
 * @param data Given to the callback and to the accept error hook.
 * @returns A listener, already listening.
 * @throws {Deno.errors.AddrInUse} If there is a file at the path already.
 * @category Listening
 */
export function listen<D = undefined>(
  options:
    & Deno.UnixListenOptions
    & { transport: "unix" }
    & ListenerOptions<Deno.UnixConn>,
  callback?: ConnectionCallback<Deno.UnixConn, D> | null,
  ...data: undefined extends D ? [data?: D] : [data: D]
): ConnListener<Deno.UnixConn, Deno.UnixAddr>;
/**
 * Listens on a VSOCK socket. Without `--unstable-vsock` Deno ends the process here,
 * and nothing tells beforehand whether that flag was given.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection.
 * @param data Given to the callback and to the accept error hook.
 * @returns A listener, already listening.
 * @category Listening
 */
export function listen<D = undefined>(
  options:
    & Deno.VsockListenOptions
    & { transport: "vsock" }
    & ListenerOptions<Deno.VsockConn>,
  callback?: ConnectionCallback<Deno.VsockConn, D> | null,
  ...data: undefined extends D ? [data?: D] : [data: D]
): ConnListener<Deno.VsockConn, Deno.VsockAddr>;
/**
 * Listens on a TCP port, as `Deno.listen` does, and goes on whatever clients do. Takes
 * the options of `Deno.listen` and the listener's. Without `tcpBacklog`, or
 * with a negative one, the kernel's queue is 4096 long, as far as the kernel allows. Deno's own errors, such as `AddrInUse`, pass through
 * (`evconnlistener_new_bind`).
 *
 * With a callback that returns its promise, no client can end the process or stop
 * the service. With `for await` or `accept()`, no client can end the accepting.
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
 * @category Listening
 *
 * @example An echo server
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen(
 *   { port: 0 },
 *   (conn) => conn.readable.pipeTo(conn.writable),
 * );
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * await client.write(new TextEncoder().encode("hello"));
 * await client.closeWrite();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 *
 * @example A loop
 * ```ts
 * import { listen } from "@evconn/listener";
 *
 * const listener = listen({ port: 0 });
 * using client = await Deno.connect({ port: listener.addr.port });
 * for await (const conn of listener) {
 *   conn.close();
 *   break; // closes the listener
 * }
 * ```
 */
export function listen<D = undefined>(
  options: Deno.TcpListenOptions & { transport?: "tcp" } & ListenerOptions,
  callback?: ConnectionCallback<Deno.TcpConn, D> | null,
  ...data: undefined extends D ? [data?: D] : [data: D]
): ConnListener<Deno.TcpConn>;
export function listen(
  // deno-lint-ignore no-explicit-any
  options: any,
  // deno-lint-ignore no-explicit-any
  callback?: ConnectionCallback<any, any> | null,
  data?: unknown,
  // deno-lint-ignore no-explicit-any
): ConnListener<any, any> {
  const given = readOnce(options);
  // deno-lint-ignore no-explicit-any
  const settings = new Settings<any>(given);
  checkCallback("callback", callback);
  settings.checkTransport(applyFlags(given, settings.flags));
  let socket;
  try {
    socket = Deno.listen(given);
  } catch (error) {
    throw given.transport === "unix"
      ? explainAddrInUse(error, given.path)
      : error;
  }
  return make(new Socket(socket, true), settings, callback, data);
}

/**
 * Listens with TLS, as `Deno.listenTls` does, and goes on whatever clients do. Takes
 * the options of `Deno.listenTls` and the listener's.
 *
 * The handshake takes place when the connection is first read or written, so a
 * client that never finishes it holds up nobody else. One that fails is counted in
 * `stats.aborted`, and is no error. Deno cannot close a connection in the middle of its
 * handshake: its file descriptor is free when the client leaves.
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
 * @category Listening
 *
 * @example Usage
 * ```ts
 * import { listenTls } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const cert = await Deno.readTextFile("tests/testdata/localhost.crt");
 * const key = await Deno.readTextFile("tests/testdata/localhost.key");
 * await using listener = listenTls(
 *   { port: 0, cert, key },
 *   (conn) => conn.write(new TextEncoder().encode("hello")),
 * );
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
  ...data: undefined extends D ? [data?: D] : [data: D]
): ConnListener<Deno.TlsConn> {
  const given = readOnce(options);
  const settings = new Settings(given);
  checkCallback("callback", callback);
  applyFlags(given, settings.flags);
  settings.checkTransport("TLS");
  const socket = new Socket(Deno.listenTls(given), true);
  return make(socket, settings, callback, data[0]);
}

function make<C extends Deno.Conn, A extends Deno.Addr>(
  socket: Deno.Listener<C, A>,
  settings: Settings<C>,
  callback: AnyCallback<C> | null = null,
  data: unknown,
): ConnListener<C, A> {
  // The overloads of listen() have seen to it that there is data where it is needed.
  return new ConnListener(socket, settings, callback, data as null);
}
