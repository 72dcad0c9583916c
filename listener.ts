/**
 * The connection listener: {@linkcode listen}, {@linkcode listenTls} and the
 * {@linkcode ConnListener} that both of them make.
 *
 * Its verbs are here. When a connection is accepted is in `internal/accept/acceptor.ts`,
 * what becomes of it in `internal/service.ts`, and how all ends in `internal/ending.ts`.
 *
 * @module
 */
import { Acceptor } from "./internal/accept/acceptor.ts";
import { checksOf } from "./internal/accept/checks.ts";
import { socketOf } from "./internal/accept/detached_socket.ts";
import { PAUSED } from "./internal/accept/holds.ts";
import { openSocket, openTlsSocket } from "./internal/accept/open_socket.ts";
import type { Socket } from "./internal/accept/socket.ts";
import { applyFlags } from "./internal/bind.ts";
import {
  checkCallback,
  checkLimit,
  checkPeers,
  checkReason,
  checkSocket,
  checkTimeout,
} from "./internal/check.ts";
import { Ending } from "./internal/ending.ts";
import type {
  AcceptErrorCallback,
  CallbackData,
  ConnectionCallback,
  ListenerOptions,
} from "./internal/options.ts";
import { Service, type Waiter } from "./internal/service.ts";
import { readOnce, Settings } from "./internal/settings.ts";
import type {
  ListenerStats,
  ShutdownOptions,
  ShutdownResult,
} from "./internal/types.ts";
import { formatAddr } from "./internal/util/addr.ts";
import { takeSignalDescriptors } from "./internal/util/signal_descriptors.ts";
import { LEV_OPT_CLOSE_ON_FREE, LEV_OPT_DISABLED } from "./flags.ts";

export type {
  AcceptErrorCallback,
  CallbackData,
  ConnectionCallback,
  ConnectionErrorCallback,
  ListenerOptions,
  RejectCallback,
} from "./internal/options.ts";
export type {
  ListenerStats,
  ProxyHeader,
  RejectReason,
  ShutdownOptions,
  ShutdownResult,
} from "./internal/types.ts";
export { peerOf } from "./internal/conn/peers.ts";
export { proxyHeader } from "./internal/proxy/on_conn.ts";

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
 * @typeParam D The type of the data that the constructor gives to its callback.
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
  D = unknown,
> implements Deno.Listener<C, A>, AsyncDisposable {
  /** The `LEV_OPT_*` flags that the listener was made with. */
  readonly flags: number;
  readonly #socket: Socket;
  readonly #acceptor: Acceptor;
  readonly #service: Service;
  readonly #ending: Ending;
  #shown: Deno.Listener;

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
   * @throws {RangeError} If a number is out of range: `flags` has unknown bits, a limit is
   * neither a positive integer nor `Infinity`, or a timeout is not above 0.
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
    callback: ConnectionCallback<C, D> | null,
    data: D,
  );
  /** @ignore */
  constructor(
    socket: Deno.Listener<C, A>,
    options: ListenerOptions<C> | Settings = {},
    callback?: AnyCallback<C> | null,
    data?: unknown,
  ) {
    checkSocket(socket);
    checkCallback("callback", callback);
    const settings = options instanceof Settings
      ? options
      : Settings.forAdopted(options);
    this.#socket = socketOf(socket);
    const { transport } = this.#socket;
    settings.checkTransport(transport);
    this.flags = settings.flags;
    this.#shown = this.#socket.listener;
    const service = this.#service = new Service(this, settings);
    const acceptor = this.#acceptor = new Acceptor(
      this.#socket,
      service,
      checksOf(transport, settings, service),
      settings.readyTimeout,
    );
    service.begin(acceptor, callback ?? null, data);
    this.#ending = new Ending({ socket: this.#socket, acceptor, service });
    if (this.flags & LEV_OPT_DISABLED) acceptor.hold(PAUSED);
    if (settings.signal) this.#ending.follow(settings.signal);
    takeSignalDescriptors();
    acceptor.update();
  }

  /**
   * What is listened on (`evconnlistener_get_fd`). After `detach()`, or `free()`
   * without `LEV_OPT_CLOSE_ON_FREE`, what goes on listening.
   */
  get socket(): Deno.Listener<C, A> {
    return this.#shown as Deno.Listener<C, A>;
  }

  /**
   * The address that is listened on. With port 0 it has the port that the system
   * has picked.
   */
  get addr(): A {
    return this.#socket.addr as A;
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
    if (this.#ending.isDraining) return "draining";
    if (this.#ending.released !== undefined) return "closed";
    return this.#acceptor.holds.has(PAUSED) ? "paused" : "listening";
  }

  /**
   * Why nothing is accepted now, in the order in which the reasons began:
   * `"paused"` by `pause()`, `"full"` by `maxConnections`, `"backoff"` after a failed
   * accept, and those of `hold()`. Accepting goes on when none is left.
   */
  get holds(): readonly string[] {
    return this.#acceptor.holds.list;
  }

  /** What the listener has counted, and what it has now: a snapshot. */
  get stats(): ListenerStats {
    return this.#service.stats;
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
    return this.#ending.finished;
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
    return this.#service.maxConnections;
  }

  set maxConnections(max: number) {
    checkLimit("maxConnections", max, "change the limit");
    this.#service.maxConnections = max;
  }

  /**
   * The most connections of one client address at a time, as in
   * {@linkcode ListenerOptions}. May be changed at any time; a lower limit closes
   * nothing, it lets them end.
   *
   * @throws {TypeError} When set to anything but a number, or with a Unix socket.
   * @throws {RangeError} When set to a number that is neither a positive integer
   * nor `Infinity`.
   */
  get maxConnectionsPerPeer(): number {
    return this.#service.maxConnectionsPerPeer;
  }

  set maxConnectionsPerPeer(max: number) {
    checkLimit("maxConnectionsPerPeer", max, "change the limit");
    checkPeers(max, this.#socket.transport, "change the limit");
    this.#service.maxConnectionsPerPeer = max;
  }

  /**
   * The connections that are being served: those whose callback's promise is pending,
   * in the order in which they came. Each iteration sees those that are there; whoever
   * ends meanwhile is left out. Closing one is the way to send a client away, and no
   * error of its callback.
   *
   * @example Sending a client away
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen(
   *   { port: 0 },
   *   (conn) => conn.readable.pipeTo(conn.writable),
   * );
   * using client = await Deno.connect({ port: listener.addr.port });
   * await client.write(new Uint8Array(1));
   * await client.read(new Uint8Array(1));
   *
   * for (const conn of listener.connections) {
   *   if (conn.remoteAddr.port === client.localAddr.port) conn.close();
   * }
   * assertEquals(await client.read(new Uint8Array(1)), null);
   * ```
   */
  get connections(): Iterable<C> {
    const { active } = this.#service;
    return {
      *[Symbol.iterator]() {
        for (const { conn } of active) yield conn as C;
      },
    };
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
    ...data: CallbackData<D>
  ): void {
    checkCallback("callback", callback, "set the callback");
    if (this.#ending.released !== undefined) return;
    this.#service.setCallback(callback ?? null, data[0]);
  }

  /**
   * Sets the hook that is told of failures to accept, or takes it away
   * (`evconnlistener_set_error_cb`).
   *
   * @param callback Told of failures from now on; with `null`, each episode of
   * failures is one `console.warn`.
   * @throws {TypeError} If `callback` is neither a function nor `null`.
   */
  // deno-lint-ignore no-explicit-any
  setErrorCallback(callback: AcceptErrorCallback<C, any> | null): void {
    checkCallback("callback", callback, "set the error callback");
    this.#service.onAcceptError = callback ?? null;
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
    const { released } = this.#ending;
    if (released === undefined) this.#service.wait(waiter as Waiter);
    else released.then(() => waiter(undefined));
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
    this.#acceptor.hold(PAUSED);
  }

  /**
   * Goes on accepting after `pause()`. What is parked or queued is delivered
   * after it returns, never from inside it (`evconnlistener_enable`).
   */
  resume(): void {
    this.#acceptor.release(PAUSED);
  }

  /**
   * Stops accepting for a reason of your own, until what this gives is disposed of. As
   * with `pause()`, clients wait in the kernel's queue. Reasons are independent: accepting
   * goes on when none is left, so two parts of a program never undo each other's. A reason
   * that is held twice is listed once, and ends with the last.
   *
   * @param reason What `holds` is to list.
   * @returns What ends the hold. Disposing of it again does nothing.
   * @throws {TypeError} If the reason is empty, no string, or one of the listener's own:
   * `"paused"`, `"full"` and `"backoff"`.
   *
   * @example While a database is away
   * ```ts
   * import { listen } from "@evconn/listener";
   * import { assertEquals } from "@std/assert";
   *
   * await using listener = listen({ port: 0 }, (conn) => conn.close());
   * {
   *   using _away = listener.hold("database");
   *   assertEquals(listener.holds, ["database"]);
   * }
   * assertEquals(listener.holds, []);
   * ```
   */
  hold(reason: string): Disposable {
    checkReason(reason);
    return this.#acceptor.holdOnce(reason);
  }

  /**
   * Makes the listener keep the process alive while it accepts, as it does by
   * default.
   */
  ref(): void {
    this.#acceptor.isRefed = true;
  }

  /**
   * Lets the process end although the listener accepts. On a TLS listener, Deno
   * cannot do it for an accept that is in flight.
   */
  unref(): void {
    this.#acceptor.isRefed = false;
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
    return this.#ending.close();
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
    const { drainBacklog } = options;
    return await this.#ending.shutDown(timeout, drainBacklog ?? true);
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
    this.#shown = this.#ending.detach() ?? this.#shown;
    return this.socket;
  }

  /**
   * Frees the listener: with `LEV_OPT_CLOSE_ON_FREE` that is `close()`, without it
   * `detach()`, and `socket` goes on listening (`evconnlistener_free`).
   */
  free(): void {
    if (this.flags & LEV_OPT_CLOSE_ON_FREE) this.close();
    else this.detach();
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
 * Listens on a Unix socket. Closing it removes its file (since Deno 2.6.7), unless
 * somebody else has put a file in its place; `AddrInUse` says what to do about one that was left behind.
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
  ...data: CallbackData<D>
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
  ...data: CallbackData<D>
): ConnListener<Deno.VsockConn, Deno.VsockAddr>;
/**
 * Listens on a TCP port, as `Deno.listen` does, and goes on whatever clients do. Takes
 * {@linkcode ListenerOptions} and the options of `Deno.listen`:
 *
 * - `port`: with 0, the system picks one, which `addr` tells;
 * - `hostname`: the address to listen on, `"0.0.0.0"` if not given;
 * - `tcpBacklog`: how many connections may wait in the kernel's queue, 4096 if not given
 *   or negative. Linux allows `net.core.somaxconn` at most;
 * - `reusePort`: as `LEV_OPT_REUSEABLE_PORT`.
 *
 * Deno's own errors, such as `AddrInUse`, pass through (`evconnlistener_new_bind`).
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
 * @throws {RangeError} If a number is out of range: `flags` has unknown bits, a limit is
 * neither a positive integer nor `Infinity`, a timeout is not above 0, or `tcpBacklog` is
 * 0 or no integer.
 * @throws {Deno.errors.AddrInUse} If somebody listens there already.
 * @throws {Deno.errors.NotCapable} Without `--allow-net`.
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
  ...data: CallbackData<D>
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
  const settings = new Settings(given);
  checkCallback("callback", callback);
  const transport = applyFlags(given, settings.flags);
  settings.checkTransport(transport);
  return make(openSocket(given, transport), settings, callback, data);
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
  ...data: CallbackData<D>
): ConnListener<Deno.TlsConn> {
  const given = readOnce(options);
  const settings = new Settings(given);
  checkCallback("callback", callback);
  applyFlags(given, settings.flags);
  settings.checkTransport("TLS");
  return make(openTlsSocket(given), settings, callback, data[0]);
}

function make<C extends Deno.Conn, A extends Deno.Addr>(
  socket: Socket,
  settings: Settings,
  callback: AnyCallback<C> | null = null,
  data: unknown,
): ConnListener<C, A> {
  return new ConnListener<C, A>(
    socket.listener as Deno.Listener<C, A>,
    settings as ListenerOptions<C>, // checked already
    callback,
    data,
  );
}
