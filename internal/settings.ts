/** The options of a listener, checked before a socket is made. */
import { checkFlags, LEV_OPT_DEFERRED_ACCEPT } from "../flags.ts";
import { checkAddressFamilies } from "./bind.ts";
import {
  checkBoolean,
  checkCallback,
  checkDuration,
  checkLimit,
  checkPeers,
  checkSignal,
  refuse,
} from "./check.ts";

/** How long a client may take to be ready, in ms. libevent gives Linux the same value. */
const DEFAULT_HANDSHAKE_TIMEOUT = 30_000;

/**
 * Makes a view of options that reads each option once, here or in Deno. Getters and
 * inherited properties work as own ones do, also those of a class with `#private`
 * fields. `null` is the same as leaving an option out. An option that is set on the view
 * replaces the given one.
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
    // A program may replace Deno.listen by a function that copies its options.
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

/** A function of the program. The public types say what its arguments are. */
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
   * @param options The options, as `readOnce()` returns them.
   * @throws {TypeError} If an option has a wrong type, or flags exclude each other.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: object) {
    const given: Given = options; // without null: readOnce() has removed it
    this.flags = given.flags ?? 0;
    this.maxConnections = given.maxConnections ?? Infinity;
    this.overflow = given.overflow ?? "queue";
    this.maxConnectionsPerPeer = given.maxConnectionsPerPeer ?? Infinity;
    this.admit = given.admit;
    this.onReject = given.onReject;
    this.proxyProtocol = given.proxyProtocol ?? false;
    this.handshakeTimeout = given.handshakeTimeout;
    this.idleTimeout = given.idleTimeout ?? Infinity;
    this.noDelay = given.noDelay ?? false;
    this.keepAlive = given.keepAlive ?? false;
    this.signal = given.signal;
    this.onAcceptError = given.onAcceptError;
    this.onConnectionError = given.onConnectionError;
    this.#check();
  }

  #check(): void {
    checkFlags(this.flags, "listen");
    checkAddressFamilies(this.flags);
    checkLimit("maxConnections", this.maxConnections);
    checkLimit("maxConnectionsPerPeer", this.maxConnectionsPerPeer);
    checkCallback("admit", this.admit);
    checkCallback("onReject", this.onReject);
    const { overflow, proxyProtocol } = this;
    if (overflow !== "queue" && overflow !== "reject") {
      refuse(TypeError, "overflow", '"queue" or "reject"', overflow);
    }
    if (!["boolean", "function"].includes(typeof proxyProtocol)) {
      const must = "a boolean or a function";
      refuse(TypeError, "proxyProtocol", must, proxyProtocol);
    }
    checkDuration("handshakeTimeout", this.handshakeTimeout ?? Infinity);
    checkDuration("idleTimeout", this.idleTimeout);
    checkBoolean("noDelay", this.noDelay);
    checkBoolean("keepAlive", this.keepAlive);
    checkSignal(this.signal);
    checkCallback("onAcceptError", this.onAcceptError);
    checkCallback("onConnectionError", this.onConnectionError);
  }

  /** How long a connection may take until it is ready, in ms. */
  get readyTimeout(): number {
    return this.handshakeTimeout ?? DEFAULT_HANDSHAKE_TIMEOUT;
  }

  /** Refuses options that the transport does not have. */
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

  /** The settings of a listener whose socket was not made by `listen()`. */
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
