/**
 * The connection listener: {@linkcode listen}, {@linkcode listenTls} and the
 * {@linkcode ConnListener} that both of them return.
 *
 * This file has its methods. `internal/accept/acceptor.ts` decides when a connection is
 * accepted, `internal/service.ts` what happens to it, and `internal/ending.ts` how the
 * listener ends.
 *
 * @module
 */
import { Acceptor } from "./internal/accept/acceptor.ts";
import { checksOf } from "./internal/accept/checks.ts";
import { socketOf } from "./internal/accept/detached_socket.ts";
import { PAUSED } from "./internal/accept/holds.ts";
import { openSocket, openTlsSocket } from "./internal/accept/open_socket.ts";
import { closedError, type Socket } from "./internal/accept/socket.ts";
import { applyFlags } from "./internal/bind.ts";
import {
  checkCallback,
  checkLimit,
  checkPeers,
  checkReason,
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
 * A `Deno.Listener` that no client can stop, and that can be paused, limited and shut
 * down gracefully.
 *
 * {@linkcode listen} and {@linkcode listenTls} return one. The constructor makes one from
 * a `Deno.Listener` that you already have. Take the connections with a callback, with
 * `for await`, or with `accept()`. After the listener has ended, every method does
 * nothing, except `accept()`, which rejects.
 *
 * @typeParam C The type of the connections: `Deno.TcpConn`, `Deno.TlsConn`, …
 * @typeParam A The type of the addresses, which follows from the connections.
 * @typeParam D The type of the data that the constructor gets for its callback.
 * @category Listening
 *
 * @example From a listener that you already have
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
   * Makes a listener from a socket that is listening already. Flags that describe how to
   * open a socket have no effect.
   *
   * @param socket The socket to accept from. Only the listener may use it from now on.
   * @param options The listener's options.
   * @param callback Called for each connection. Without a callback, the listener accepts
   * nothing until you set one, call `accept()`, or start a loop.
   * @throws {TypeError} If the socket, an option or the callback has a wrong
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
   * Makes a listener from a socket, with data for the callback.
   *
   * @param socket The socket to accept from. Only the listener may use it from now on.
   * @param options The listener's options.
   * @param callback Called for each connection.
   * @param data The callback's third argument; see {@linkcode CallbackData}.
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
   * The listening socket. After `detach()`, or `free()` without `LEV_OPT_CLOSE_ON_FREE`,
   * the listener that `detach()` returns.
   */
  get socket(): Deno.Listener<C, A> {
    return this.#shown as Deno.Listener<C, A>;
  }

  /** The address of the socket. If you asked for port 0, it has the actual port. */
  get addr(): A {
    return this.#socket.addr as A;
  }

  /**
   * The state of the listener:
   *
   * - `"listening"`: it accepts connections for its callback, a loop or `accept()`;
   * - `"paused"`: after `pause()`, or with `LEV_OPT_DISABLED`;
   * - `"draining"`: from `shutdown()` until the last active connection has ended;
   * - `"closed"`: after `close()` or `detach()`, and when `shutdown()` is done.
   */
  get state(): "listening" | "paused" | "draining" | "closed" {
    if (this.#ending.isDraining) return "draining";
    if (this.#ending.released !== undefined) return "closed";
    return this.#acceptor.holds.has(PAUSED) ? "paused" : "listening";
  }

  /**
   * The reasons why nothing is accepted now, oldest first. Accepting resumes when the
   * list is empty. The reasons are:
   *
   * - `"paused"`: `pause()` was called;
   * - `"full"`: `maxConnections` is reached;
   * - `"backoff"`: an accept has failed, and will be tried again;
   * - the reasons that your program gives to `hold()`.
   */
  get holds(): readonly string[] {
    return this.#acceptor.holds.list;
  }

  /** A snapshot of the listener's counters. */
  get stats(): ListenerStats {
    return this.#service.stats;
  }

  /**
   * Aborted when `shutdown()` or `close()` begins, so that callbacks can finish.
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
   * Resolves when the listener has ended: it is closed or detached, its address can be
   * used again, and no callback is running. Never rejects.
   */
  get finished(): Promise<void> {
    return this.#ending.finished;
  }

  /**
   * The highest number of connections at a time: the option `maxConnections` of
   * {@linkcode ListenerOptions}. Can be changed at any time. A lower limit closes no
   * connection.
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
   * The highest number of connections of one client at a time: the option
   * `maxConnectionsPerPeer` of {@linkcode ListenerOptions}. Can be changed at any time. A
   * lower limit closes no connection.
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
   * The active connections, oldest first: those whose callback's promise is pending. A
   * loop over them skips connections that end meanwhile. To disconnect a client, close
   * its connection. Its callback may then reject; that is not reported as an error.
   *
   * @example Disconnecting a client
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
   * Replaces the callback and its data, or removes them. Connections that wait in the
   * kernel's queue go to the new callback. Active connections keep the old one.
   *
   * @typeParam D The type of `data`.
   * @param callback Called for each connection from now on. With `null`, connections
   * wait in the kernel's queue.
   * @param data The callback's third argument; see {@linkcode CallbackData}.
   * @throws {TypeError} If `callback` is neither a function nor `null`, or if an
   * `accept()` is pending.
   *
   * @example Replacing the callback of a running server
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
   * Replaces the callback for failed accepts, or removes it: the option `onAcceptError`
   * of {@linkcode ListenerOptions}.
   *
   * @param callback Called for each failed accept from now on. With `null`, the first
   * failure in a row is printed with `console.warn`.
   * @throws {TypeError} If `callback` is neither a function nor `null`.
   */
  // deno-lint-ignore no-explicit-any
  setErrorCallback(callback: AcceptErrorCallback<C, any> | null): void {
    checkCallback("callback", callback, "set the error callback");
    this.#service.onAcceptError = callback ?? null;
  }

  /**
   * Waits for the next connection. Several calls may be pending at the same time; they
   * get connections in the order of the calls.
   *
   * @returns The connection. You close it, and the listener does not count it as active.
   * @throws {TypeError} If a callback is set: it gets every connection.
   * @throws {Deno.errors.BadResource} If the listener has ended, or when it ends. Then
   * its address can be used again.
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
      this.#addWaiter((conn) => {
        if (conn !== undefined) resolve(conn);
        else reject(closedError());
      });
    });
  }

  /**
   * Iterates over the connections until the listener ends. While the loop is busy,
   * clients wait in the kernel's queue. Leaving the loop closes the listener, as with
   * `Deno.listen`.
   *
   * No client can end the loop. But if the loop starts a handler and does not await it,
   * an error in that handler still ends the process.
   *
   * @returns An iterator. You close its connections, and the listener does not count them
   * as active.
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
          this.#addWaiter((conn) => {
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

  #addWaiter(waiter: (conn: C | undefined) => void): void {
    const { released } = this.#ending;
    if (released === undefined) this.#service.addWaiter(waiter as Waiter);
    else released.then(() => waiter(undefined));
  }

  /**
   * Stops accepting. The socket stays open, and clients that connect wait in the
   * kernel's queue. While it is paused, the listener does not keep the process alive.
   *
   * Deno cannot cancel an accept. So one more connection may be accepted after `pause()`.
   * The listener keeps it, and delivers it first after `resume()`.
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
   * Accepts again after `pause()`. Connections that have waited are delivered after this
   * method has returned.
   */
  resume(): void {
    this.#acceptor.release(PAUSED);
  }

  /**
   * Stops accepting for a reason that you name, until you dispose of the returned object.
   * As with `pause()`, clients wait in the kernel's queue.
   *
   * Reasons are independent of each other: accepting resumes when none is left. So two
   * parts of a program can pause the same listener. A reason that is held twice is listed
   * once in `holds`, and ends when both objects are disposed of.
   *
   * @param reason The text that `holds` lists.
   * @returns An object that ends the hold. Disposing of it again does nothing.
   * @throws {TypeError} If the reason is empty, not a string, or one that the listener
   * uses itself: `"paused"`, `"full"` and `"backoff"`.
   *
   * @example While the database is not available
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
    return this.#acceptor.addHold(reason);
  }

  /** Lets the listener keep the process alive while it accepts. This is the default. */
  ref(): void {
    this.#acceptor.isRefed = true;
  }

  /**
   * Lets the process end while the listener accepts. With TLS, this has no effect on an
   * accept that is pending.
   */
  unref(): void {
    this.#acceptor.isRefed = false;
  }

  /**
   * Closes the socket. Connections that were not delivered yet are closed, loops end, and
   * pending `accept()` calls reject. Active connections go on.
   *
   * @returns A promise that resolves when the address can be used again. Never rejects.
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
   * Shuts down gracefully: delivers the connections that wait in the kernel's queue,
   * closes the socket, and waits for the active connections. Meanwhile `state` is
   * `"draining"`, and `signal` is aborted.
   *
   * The socket is closed as soon as the queue is empty. A client that connects at that
   * moment can still be reset. A second call returns the result of the first, and can
   * shorten its timeout. Connections in a TLS handshake are closed, but Deno keeps their
   * file descriptors until their clients leave.
   *
   * @param options How long to wait, and whether to serve the queue first.
   * @returns How many connections completed, and how many were closed at the timeout.
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
   * Ends the listener without closing its socket. Connections that were accepted but not
   * delivered are not lost: the returned listener's `accept()` gives them first. Active
   * connections go on.
   *
   * @returns A `Deno.Listener` on the same socket, still listening.
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
   * Ends the listener: with the flag `LEV_OPT_CLOSE_ON_FREE` like `close()`, without it
   * like `detach()`; `socket` is then the listener that `detach()` returns.
   */
  free(): void {
    if (this.flags & LEV_OPT_CLOSE_ON_FREE) this.close();
    else this.detach();
  }

  /** Calls `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Calls `shutdown()`, for `await using`.
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
 * Listens on a TCP port, like `Deno.listen`, but no client can stop it.
 *
 * With a callback that returns a promise, no client can crash the process or stop the
 * service. With `for await` or `accept()`, no client can stop the accepting.
 *
 * The options are those of `Deno.listen` and {@linkcode ListenerOptions}:
 *
 * - `port`: with 0, the system chooses a port, which `addr` has;
 * - `hostname`: the address to listen on, `"0.0.0.0"` by default;
 * - `tcpBacklog`: how many connections may wait in the kernel's queue, 4096 by default,
 *   and if it is negative. The system may allow fewer: on Linux `net.core.somaxconn`, on
 *   macOS 128;
 * - `reusePort`: the same as the flag `LEV_OPT_REUSEABLE_PORT`.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection. Without a callback, the listener accepts
 * nothing until you set one, call `accept()`, or start a loop.
 * @param data The callback's third argument; see {@linkcode CallbackData}.
 * @returns The listener, already listening.
 * @throws {TypeError} If an option or the callback has a wrong type, if flags
 * exclude each other, or if a flag of TCP is set for another transport.
 * @throws {RangeError} If a number is out of range: `flags` has unknown bits, a limit is
 * neither a positive integer nor `Infinity`, a timeout is not above 0, or `tcpBacklog` is
 * 0 or not an integer.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} Without `--allow-net`.
 * @throws {Deno.errors.NotSupported} If Deno cannot do what a flag asks for;
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
/**
 * Listens on a Unix socket. Closing the listener removes the socket's file (since Deno
 * 2.6.7), unless another program has put a file in its place.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection.
 * @param data The callback's third argument; see {@linkcode CallbackData}.
 * @returns The listener, already listening.
 * @throws {Deno.errors.AddrInUse} If there is a file at the path already. The message says
 * what to do about a file that was left behind.
 * @category Listening
 *
 * @example Usage
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/hello.sock`;
 * await using _listener = listen(
 *   { transport: "unix", path },
 *   (conn) => conn.write(new TextEncoder().encode("hello")),
 * );
 *
 * using client = await Deno.connect({ transport: "unix", path });
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
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
 * Listens on a VSOCK socket. Without `--unstable-vsock`, Deno ends the process in this
 * call, and a program cannot find out beforehand whether the flag was given.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, and the listener's options.
 * @param callback Called for each connection.
 * @param data The callback's third argument; see {@linkcode CallbackData}.
 * @returns The listener, already listening.
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
 * Listens with TLS, like `Deno.listenTls`, but no client can stop it.
 *
 * The handshake begins when the connection is first read or written. So a slow client
 * does not delay the others. If the handshake fails, the connection is closed, and counted
 * in `stats.aborted`. Give the option `handshakeTimeout` to get connections only after
 * their handshake, and to close those that take too long.
 *
 * Deno cannot close a connection during its handshake. Its file descriptor stays open
 * until the client leaves.
 *
 * @typeParam D The type of `data`.
 * @param options Where to listen, the certificate and its key, and the
 * listener's options. `noDelay` and `keepAlive` are not available with TLS.
 * @param callback Called for each connection.
 * @param data The callback's third argument; see {@linkcode CallbackData}.
 * @returns The listener, already listening.
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
