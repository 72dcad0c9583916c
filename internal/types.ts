/** What a listener tells a program: reasons, counts, results, headers. */

/**
 * Why a connection was turned away:
 *
 * - `"full"`: because of `maxConnections` with `overflow: "reject"`;
 * - `"peer"`: because of `maxConnectionsPerPeer`;
 * - `"not-admitted"`: `admit` did not say `true`;
 * - `"proxy-header"`: it did not come from a proxy that may send a PROXY header, or had
 *   no good one.
 *
 * @category Hooks
 */
export type RejectReason = "full" | "peer" | "not-admitted" | "proxy-header";

/**
 * What a listener has counted since it was made, and what it has now. All are
 * numbers of connections, except `acceptErrors`.
 *
 * @category Listening
 */
export interface ListenerStats {
  /** Accepted from the kernel, whatever became of them. */
  accepted: number;
  /** Now active: the promise that their callback returned is pending. */
  active: number;
  /**
   * Accepted during a pause, ready, and kept until accepting goes on: 1 at most, or more
   * where connections wait until they are ready.
   */
  parked: number;
  /**
   * Accepted and not ready yet: for a PROXY header, a first byte or a TLS handshake.
   */
  waiting: number;
  /** Turned away, for a {@linkcode RejectReason}. */
  rejected: number;
  /**
   * Clients that were gone before they could be delivered: reset in the kernel's
   * queue, not ready within `handshakeTimeout`, or failed in the TLS handshake.
   */
  aborted: number;
  /** Closed because they were idle for `idleTimeout`. */
  timedOut: number;
  /** Failures to accept for other reasons, which the error hook was told. */
  acceptErrors: number;
  /** Callbacks that failed, which `onConnectionError` was told. */
  connectionErrors: number;
}

/**
 * How to shut down.
 *
 * @category Listening
 */
export interface ShutdownOptions {
  /**
   * How long to wait for active connections, in ms. Those that are left then are
   * closed; 0 closes them at once.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * Whether to deliver the connections that wait in the kernel's queue first. They
   * are not while the listener is paused or has no callback.
   *
   * @default {true}
   */
  drainBacklog?: boolean | undefined;
}

/**
 * How a shutdown went.
 *
 * @category Listening
 */
export interface ShutdownResult {
  /** How many active connections ended by themselves during the shutdown. */
  completed: number;
  /** How many were closed because the timeout was over. */
  aborted: number;
}

/**
 * What a proxy has said about a connection, in the header of the PROXY protocol.
 *
 * @category Listening
 */
export interface ProxyHeader {
  /** The version of the protocol. */
  version: 1 | 2;
  /** `"LOCAL"` for a connection of the proxy's own, such as a health check. */
  command: "PROXY" | "LOCAL";
  /** The proxy's own address. */
  proxy: Deno.NetAddr;
  /** The client's address, if the proxy has told it. */
  source?: Deno.NetAddr;
  /** The address to which the client has connected, if the proxy has told it. */
  destination?: Deno.NetAddr;
  /** What else the proxy has told, in version 2, as it has come. */
  tlvs: { type: number; value: Uint8Array }[];
}
