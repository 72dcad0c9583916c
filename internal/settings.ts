/**
 * What `listen()` is given: bad input is refused here, before a socket is made,
 * and flags become options of `Deno.listen`.
 */
import {
  checkFlags,
  LEV_OPT_BIND_IPV4_AND_IPV6,
  LEV_OPT_BIND_IPV6ONLY,
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_REUSEABLE,
  LEV_OPT_REUSEABLE_PORT,
} from "../flags.ts";
import type { ConnListener } from "../listener.ts";
import { canonicalIpv6 } from "./util/ip_address.ts";
import type {
  AcceptErrorCallback,
  ConnectionErrorCallback,
  ListenerOptions,
  RejectCallback,
} from "./types.ts";

/** The longest wait that a timer takes; a longer one would fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;
/** `listen(2)` takes an int. */
const MAX_BACKLOG = 2 ** 31 - 1;

/** What is looked at here of the options of `Deno.listen` and `Deno.listenTls`. */
interface BindOptions {
  transport?: string;
  hostname?: string;
  path?: string;
  tcpBacklog?: number | undefined;
  reusePort?: boolean;
}

/**
 * Options of which each is read once, from the object that has it, whoever asks:
 * here or in Deno. So getters, also of a class with `#private` fields, and inherited
 * properties are as good as own ones, and `null` is the same as not given. What is set
 * covers what was given.
 */
export function readOnce<T extends object>(options: T): T {
  if (typeof options !== "object" || options === null) {
    refuse(TypeError, "options", "an object", options);
  }
  const values = new Map<PropertyKey, unknown>();
  return new Proxy({} as T, {
    get(_, key) {
      if (!values.has(key)) {
        values.set(key, options[key as keyof T] ?? undefined);
      }
      return values.get(key);
    },
    set(_, key, value) {
      values.set(key, value);
      return true;
    },
  });
}

/** A listener's own options, checked. */
export class Settings<C extends Deno.Conn> implements ListenerOptions<C> {
  readonly flags: number;
  readonly maxConnections: number;
  readonly overflow: "queue" | "reject";
  readonly maxConnectionsPerPeer: number;
  readonly admit?: (
    addr: C["remoteAddr"],
    listener: ConnListener<C>,
  ) => boolean;
  readonly onReject?: RejectCallback<C>;
  readonly proxyProtocol: boolean | ((proxy: Deno.NetAddr) => boolean);
  readonly handshakeTimeout?: number; // only if it was given
  readonly idleTimeout: number;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
  readonly signal?: AbortSignal;
  readonly onAcceptError?: AcceptErrorCallback<C, unknown>;
  readonly onConnectionError?: ConnectionErrorCallback<C>;

  /**
   * @param options What was given, as `readOnce()` gives it.
   * @throws {TypeError} If one is of a wrong type, or flags exclude each other.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: ListenerOptions<C>) {
    const { flags = 0, maxConnections = Infinity, overflow = "queue" } =
      options;
    const { noDelay = false, keepAlive = false, signal } = options;
    const { maxConnectionsPerPeer = Infinity, admit, onReject } = options;
    const { proxyProtocol = false, handshakeTimeout } = options;
    const { idleTimeout = Infinity } = options;
    const { onAcceptError, onConnectionError } = options;
    checkFlags(flags, "listen");
    checkAddressFamilies(flags);
    checkLimit("maxConnections", maxConnections);
    checkLimit("maxConnectionsPerPeer", maxConnectionsPerPeer);
    checkCallback("admit", admit);
    checkCallback("onReject", onReject);
    if (overflow !== "queue" && overflow !== "reject") {
      refuse(TypeError, "overflow", '"queue" or "reject"', overflow);
    }
    if (!["boolean", "function"].includes(typeof proxyProtocol)) {
      const must = "a boolean or a function";
      refuse(TypeError, "proxyProtocol", must, proxyProtocol);
    }
    checkWait("handshakeTimeout", handshakeTimeout ?? Infinity);
    checkWait("idleTimeout", idleTimeout);
    checkBoolean("noDelay", noDelay);
    checkBoolean("keepAlive", keepAlive);
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      refuse(TypeError, "signal", "an AbortSignal", signal);
    }
    checkCallback("onAcceptError", onAcceptError);
    checkCallback("onConnectionError", onConnectionError);
    this.flags = flags;
    this.maxConnections = maxConnections;
    this.overflow = overflow;
    this.maxConnectionsPerPeer = maxConnectionsPerPeer;
    if (admit) this.admit = admit;
    if (onReject) this.onReject = onReject;
    this.proxyProtocol = proxyProtocol;
    if (handshakeTimeout !== undefined) {
      this.handshakeTimeout = handshakeTimeout;
    }
    this.idleTimeout = idleTimeout;
    this.noDelay = noDelay;
    this.keepAlive = keepAlive;
    if (signal) this.signal = signal;
    if (onAcceptError) this.onAcceptError = onAcceptError;
    if (onConnectionError) this.onConnectionError = onConnectionError;
  }

  /** Refuses TCP options where Deno has none for the connections. */
  checkTransport(transport: string): void {
    if (transport === "tcp") return;
    for (const name of ["noDelay", "keepAlive"] as const) {
      if (this[name]) {
        throw new Deno.errors.NotSupported(
          `Cannot listen as '${name}' is not supported with ${transport}: Deno sets it on plain TCP connections only`,
        );
      }
    }
    checkPeers(this.maxConnectionsPerPeer, transport);
    if (this.proxyProtocol) {
      throw new Deno.errors.NotSupported(
        `Cannot listen as 'proxyProtocol' is not supported with ${transport}: ${
          transport === "TLS"
            ? "the header comes before the TLS handshake, which Deno begins itself"
            : "it tells TCP addresses"
        }`,
      );
    }
  }

  /** Those of a listener around a socket that somebody else has made. */
  static forAdopted<C extends Deno.Conn>(
    options: ListenerOptions<C>,
  ): Settings<C> {
    const settings = new Settings<C>(readOnce(options));
    if (settings.flags & LEV_OPT_DEFERRED_ACCEPT) {
      throw new TypeError(
        "Cannot listen as LEV_OPT_DEFERRED_ACCEPT is not for an adopted socket",
      );
    }
    return settings;
  }
}

/** Says what is wrong with an option, in one form for all. */
export function refuse(
  ErrorClass: new (message: string) => Error,
  name: string,
  must: string,
  received: unknown,
  purpose = "listen",
): never {
  throw new ErrorClass(
    `Cannot ${purpose} as '${name}' must be ${must}: received ${
      Deno.inspect(received)
    }`,
  );
}

/** Refuses what is neither a function nor left out. */
export function checkCallback(
  name: string,
  callback: unknown,
  purpose?: string,
): void {
  if (callback != null && typeof callback !== "function") {
    refuse(TypeError, name, "a function", callback, purpose);
  }
}

/** Refuses a limit for each peer where peers have no address. */
export function checkPeers(
  max: number,
  transport: string,
  purpose = "listen",
): void {
  if (transport !== "unix" || max === Infinity) return;
  throw new TypeError(
    `Cannot ${purpose} as 'maxConnectionsPerPeer' is not for Unix sockets: their clients have no address`,
  );
}

/** Refuses a reason that a program cannot have for its own. */
export function checkReason(reason: string): void {
  const isOurs = ["", "paused", "full", "backoff"].includes(reason);
  if (typeof reason === "string" && !isOurs) return;
  const must = "a string that is neither empty nor a reason of the listener's";
  refuse(TypeError, "reason", must, reason, "hold");
}

/** Refuses a limit that is not a positive whole number or Infinity. */
export function checkLimit(name: string, max: number, purpose?: string): void {
  const valid = max === Infinity || Number.isInteger(max) && max > 0;
  if (valid) return;
  const ErrorClass = typeof max === "number" ? RangeError : TypeError;
  const must = "a positive integer or Infinity";
  refuse(ErrorClass, name, must, max, purpose);
}

function checkWait(name: string, wait: number): void {
  if (typeof wait === "number" && wait > 0) return;
  const ErrorClass = typeof wait === "number" ? RangeError : TypeError;
  refuse(ErrorClass, name, "a positive number of ms or Infinity", wait);
}

/** Refuses a wait that a timer cannot keep. */
export function checkTimeout(timeout: number, purpose = "shut down"): void {
  const valid = timeout >= 0 &&
    (timeout <= MAX_TIMEOUT || timeout === Infinity);
  if (typeof timeout === "number" && valid) return;
  const ErrorClass = typeof timeout === "number" ? RangeError : TypeError;
  const must = `from 0 to ${MAX_TIMEOUT} ms or Infinity`;
  refuse(ErrorClass, "timeout", must, timeout, purpose);
}

function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== "boolean") refuse(TypeError, name, "a boolean", value);
}

function checkAddressFamilies(flags: number): void {
  const only6 = (flags & LEV_OPT_BIND_IPV6ONLY) !== 0;
  const both = (flags & LEV_OPT_BIND_IPV4_AND_IPV6) !== 0;
  if (only6 && both) {
    throw new TypeError(
      "Cannot listen as LEV_OPT_BIND_IPV6ONLY and LEV_OPT_BIND_IPV4_AND_IPV6 exclude each other",
    );
  }
}

/** Refuses what nothing can be accepted from. */
export function checkSocket(socket: Deno.Listener): void {
  if (typeof socket?.accept !== "function") {
    refuse(TypeError, "socket", "a Deno.Listener", socket);
  }
}

/**
 * Works the flags into the options for `Deno.listen`, and gives back the transport.
 *
 * @param bind The options, as `readOnce()` gives them.
 */
export function applyFlags(bind: BindOptions, flags: number): string {
  const { transport = "tcp" } = bind;
  if (!["tcp", "unix", "vsock"].includes(transport)) {
    refuse(TypeError, "transport", '"tcp", "unix" or "vsock"', transport);
  }
  if (transport !== "tcp") refuseTcpFlags(flags, transport);
  applyBacklog(bind);
  applyReusePort(bind, flags);
  applyAddressFamily(bind, flags);
  return transport;
}

/** On a Unix socket these fail in libevent, too: setsockopt() refuses them. */
function refuseTcpFlags(flags: number, transport: string): void {
  for (
    const [name, bit] of Object.entries({
      LEV_OPT_REUSEABLE,
      LEV_OPT_DEFERRED_ACCEPT,
      LEV_OPT_REUSEABLE_PORT,
      LEV_OPT_BIND_IPV6ONLY,
      LEV_OPT_BIND_IPV4_AND_IPV6,
    })
  ) {
    if (flags & bit) {
      throw new TypeError(
        `Cannot listen as ${name} is a flag of TCP: the transport is ${
          JSON.stringify(transport)
        }`,
      );
    }
  }
}

/**
 * The length of the kernel's queue unless something else is asked for. Linux cuts it to
 * `net.core.somaxconn`, which is 4096 as well. With Deno's 511, clients that come
 * together wait for seconds.
 */
const DEFAULT_BACKLOG = 4096;

/** evconnlistener_new_bind's `backlog`: negative picks a default, and 0 fails. */
function applyBacklog(bind: BindOptions): void {
  const { tcpBacklog = -1 } = bind;
  const must = "a positive integer, or negative for the default";
  if (typeof tcpBacklog !== "number") {
    refuse(TypeError, "tcpBacklog", must, tcpBacklog);
  }
  if (
    !Number.isInteger(tcpBacklog) || tcpBacklog === 0 ||
    tcpBacklog > MAX_BACKLOG
  ) {
    refuse(RangeError, "tcpBacklog", must, tcpBacklog);
  }
  if (tcpBacklog < 0) bind.tcpBacklog = DEFAULT_BACKLOG;
}

/**
 * Without `--unstable-net`, asking Deno for `reusePort` ends the process with
 * status 70, and no `catch` sees it. `Deno.listenDatagram` exists exactly when
 * the flag was given.
 */
function applyReusePort(bind: BindOptions, flags: number): void {
  if (flags & LEV_OPT_REUSEABLE_PORT) bind.reusePort = true;
  if (bind.reusePort && !("listenDatagram" in Deno)) {
    throw new Deno.errors.NotSupported(
      "Cannot listen as LEV_OPT_REUSEABLE_PORT ('reusePort') needs Deno's --unstable-net flag",
    );
  }
}

/** IPV6_V6ONLY cannot be set on Deno; what can be had without it is the address. */
function applyAddressFamily(bind: BindOptions, flags: number): void {
  const only6 = (flags & LEV_OPT_BIND_IPV6ONLY) !== 0;
  const both = (flags & LEV_OPT_BIND_IPV4_AND_IPV6) !== 0;
  if (!only6 && !both) return;
  const name = only6 ? "LEV_OPT_BIND_IPV6ONLY" : "LEV_OPT_BIND_IPV4_AND_IPV6";
  if (both && Deno.build.os === "windows") {
    throw new Deno.errors.NotSupported(
      `Cannot listen as ${name} is not supported on Windows: Deno cannot turn IPV6_V6ONLY off`,
    );
  }
  bind.hostname ??= "::";
  const { hostname } = bind;
  const address = canonicalIpv6(hostname);
  // An IPv4-mapped address is an IPv4 socket in disguise.
  if (address === undefined || address.startsWith("::ffff:")) {
    throw new TypeError(
      `Cannot listen as ${name} needs an IPv6 address as 'hostname': received ${
        JSON.stringify(hostname)
      }`,
    );
  }
  if (only6 && address === "::") {
    throw new Deno.errors.NotSupported(
      `Cannot listen as ${name} is not supported with '::': Deno cannot turn IPV6_V6ONLY on. A specific IPv6 address takes IPv6 only`,
    );
  }
}
