/** What a listener gives to a program: reasons, counters, results, headers. */

/**
 * Why a connection was rejected:
 *
 * - `"full"`: `maxConnections` was reached, with `overflow: "reject"`;
 * - `"peer"`: `maxConnectionsPerPeer` was reached;
 * - `"not-admitted"`: `admit` did not return `true`;
 * - `"proxy-header"`: the PROXY header was missing or invalid, or `proxyProtocol` did not
 *   allow the proxy.
 *
 * @category Callbacks
 */
export type RejectReason = "full" | "peer" | "not-admitted" | "proxy-header";

/**
 * The counters of a listener. `active`, `parked` and `waiting` say how many connections
 * there are now; the others count from the start, and never go down.
 *
 * @category Listening
 */
export interface ListenerStats {
  /** Connections that were accepted, whatever happened to them afterwards. */
  accepted: number;
  /** Connections that are active: the promise of their callback is pending. */
  active: number;
  /**
   * Connections that were accepted and are ready, but not delivered, because the listener
   * is paused or full. At most 1, or more with `LEV_OPT_DEFERRED_ACCEPT`,
   * `proxyProtocol` or `handshakeTimeout`.
   */
  parked: number;
  /**
   * Connections that were accepted and are not ready: their PROXY header, first byte or
   * TLS handshake is missing.
   */
  waiting: number;
  /** Connections that were rejected, for a {@linkcode RejectReason}. */
  rejected: number;
  /**
   * Connections that ended before they were delivered: the client left, was not ready
   * within `handshakeTimeout`, or failed in the TLS handshake.
   */
  aborted: number;
  /** Connections that were closed because they were idle for `idleTimeout`. */
  timedOut: number;
  /** Accepts that failed for another reason than the client. */
  acceptErrors: number;
  /** Callbacks that failed for another reason than the client. */
  connectionErrors: number;
}

/**
 * Options of `shutdown()`.
 *
 * @category Listening
 */
export interface ShutdownOptions {
  /**
   * How long to wait for active connections, in ms. Then the remaining ones are closed.
   * With 0, they are closed at once.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * Whether to deliver the connections that wait in the kernel's queue first. Nothing is
   * delivered if the listener is paused or has no callback.
   *
   * @default {true}
   */
  drainBacklog?: boolean | undefined;
}

/**
 * The result of `shutdown()`.
 *
 * @category Listening
 */
export interface ShutdownResult {
  /** How many connections ended by themselves during the shutdown. */
  completed: number;
  /** How many connections were closed at the timeout. */
  aborted: number;
}

/**
 * The header of the PROXY protocol that a proxy has sent on a connection.
 *
 * @category Listening
 */
export interface ProxyHeader {
  /** The version of the protocol. */
  version: 1 | 2;
  /** `"LOCAL"` for a connection of the proxy's own, such as a health check. */
  command: "PROXY" | "LOCAL";
  /** The address of the proxy itself. */
  proxy: Deno.NetAddr;
  /** The client's address, if the header has it. */
  source?: Deno.NetAddr;
  /** The address that the client has connected to, if the header has it. */
  destination?: Deno.NetAddr;
  /** Further fields of a header of version 2, not decoded. */
  tlvs: { type: number; value: Uint8Array }[];
}
