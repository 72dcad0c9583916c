/** The options of a listener, checked before a socket is made. */
import { checkFlags, LEV_OPT_DEFERRED_ACCEPT } from "../flags.ts";
import { checkAddressFamilies } from "./bind.ts";
import {
  checkBoolean,
  checkCallback,
  checkLimit,
  checkPeers,
  checkWait,
  refuse,
} from "./check.ts";

/** How long a client may take to be ready, in ms: what libevent asks Linux for. */
const DEFAULT_HANDSHAKE_TIMEOUT = 30_000;

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
  const get = (key: PropertyKey) => {
    if (!values.has(key)) {
      values.set(key, options[key as keyof T] ?? undefined);
    }
    return values.get(key);
  };
  return new Proxy({} as T, {
    get: (_, key) => get(key),
    set(_, key, value) {
      values.set(key, value);
      return true;
    },
    // A copy, as another function in place of Deno's may make, has what is given.
    ownKeys() {
      const set = [...values.keys()].filter((key) => get(key) !== undefined);
      return [...new Set([...Reflect.ownKeys(options), ...set])] as string[];
    },
    getOwnPropertyDescriptor(_, key) {
      const value = get(key);
      if (value === undefined && !(key in options)) return undefined;
      return { value, configurable: true, enumerable: true, writable: true };
    },
  });
}

/** What a program wants to be called. What it is called with is its types' to say. */
// deno-lint-ignore no-explicit-any
export type Hook<R = unknown> = (...args: any[]) => R;

/** The options of a listener, whatever its transport is. */
interface Given {
  flags?: number;
  maxConnections?: number;
  overflow?: "queue" | "reject";
  maxConnectionsPerPeer?: number;
  admit?: Hook<boolean>;
  onReject?: Hook;
  proxyProtocol?: boolean | Hook<boolean>;
  handshakeTimeout?: number;
  idleTimeout?: number;
  noDelay?: boolean;
  keepAlive?: boolean;
  signal?: AbortSignal;
  onAcceptError?: Hook;
  onConnectionError?: Hook;
}

/** A listener's own options, checked. */
export class Settings {
  readonly flags: number;
  readonly maxConnections: number;
  readonly overflow: "queue" | "reject";
  readonly maxConnectionsPerPeer: number;
  readonly admit: Hook<boolean> | undefined;
  readonly onReject: Hook | undefined;
  readonly proxyProtocol: boolean | Hook<boolean>;
  readonly handshakeTimeout: number | undefined; // only if it was given
  readonly idleTimeout: number;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
  readonly signal: AbortSignal | undefined;
  readonly onAcceptError: Hook | undefined;
  readonly onConnectionError: Hook | undefined;

  /**
   * @param options What was given, as `readOnce()` gives it.
   * @throws {TypeError} If one is of a wrong type, or flags exclude each other.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: object) {
    const given: Given = options; // null is not given, by readOnce()
    const { flags = 0, maxConnections = Infinity, overflow = "queue" } = given;
    const { noDelay = false, keepAlive = false, signal } = given;
    const { maxConnectionsPerPeer = Infinity, admit, onReject } = given;
    const { proxyProtocol = false, handshakeTimeout } = given;
    const { idleTimeout = Infinity } = given;
    const { onAcceptError, onConnectionError } = given;
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
    this.admit = admit;
    this.onReject = onReject;
    this.proxyProtocol = proxyProtocol;
    this.handshakeTimeout = handshakeTimeout;
    this.idleTimeout = idleTimeout;
    this.noDelay = noDelay;
    this.keepAlive = keepAlive;
    this.signal = signal;
    this.onAcceptError = onAcceptError;
    this.onConnectionError = onConnectionError;
  }

  /** How long a connection may take until it is ready, in ms. */
  get readyTimeout(): number {
    return this.handshakeTimeout ?? DEFAULT_HANDSHAKE_TIMEOUT;
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
  static forAdopted(options: object): Settings {
    const settings = new Settings(readOnce(options));
    if (settings.flags & LEV_OPT_DEFERRED_ACCEPT) {
      throw new TypeError(
        "Cannot listen as LEV_OPT_DEFERRED_ACCEPT is not for an adopted socket",
      );
    }
    return settings;
  }
}
