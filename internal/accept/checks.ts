/** Which checks a listener has, and in which order. */
import { LEV_OPT_DEFERRED_ACCEPT } from "../../flags.ts";
import { realRemoteAddr } from "../conn/front.ts";
import { proxyHeaderIsHere } from "../proxy/on_conn.ts";
import type { Settings } from "../settings.ts";
import { callHook, isPromise } from "../util/hooks.ts";
import { firstByteIsHere } from "./first_byte.ts";
import { handshakeIsDone } from "./handshake.ts";
import type { Check, Refusal } from "./pipeline.ts";
import { setTcpOptions } from "./tcp_options.ts";

/** The limits that the checks look at. */
export interface Limits {
  /** Whether `maxConnections` allows the connection that is being checked. */
  isWithinLimit(): boolean;
  /** The option `admit`, if it was given. */
  readonly admits: ((conn: Deno.Conn) => boolean) | undefined;
  /** Counts a connection for its peer, if `maxConnectionsPerPeer` allows it. */
  readonly peerIsWithinLimit: Check;
  /** Called with what a function of the program has thrown. */
  onError(error: unknown, conn: Deno.Conn): void;
}

/**
 * Makes the checks, in their order. Checks that wait for the client come last. Only the
 * PROXY header comes before `admit` and the limit for each peer, which need its address.
 */
export function checksOf(
  transport: string,
  settings: Settings,
  limits: Limits,
): Check[] {
  const { proxyProtocol: trusts, overflow, noDelay, keepAlive } = settings;
  const { flags, handshakeTimeout } = settings;
  const { admits } = limits;
  const checks: Check[] = [];
  if (typeof trusts === "function") {
    const isTrusted = (conn: Deno.Conn) =>
      trusts(realRemoteAddr(conn) as Deno.NetAddr);
    checks.push(safely(isTrusted, "proxy-header", limits));
  }
  if (overflow === "reject") {
    checks.push(() => limits.isWithinLimit() || "full");
  }
  if (noDelay || keepAlive) {
    const set = (conn: Deno.Conn) => setTcpOptions(conn, noDelay, keepAlive);
    checks.push(safely(set, false, limits));
  }
  if (trusts) checks.push(proxyHeaderIsHere);
  if (admits) checks.push(safely(admits, "not-admitted", limits));
  if (transport !== "unix") checks.push(limits.peerIsWithinLimit);
  if (transport === "TLS" && handshakeTimeout !== undefined) {
    checks.push(handshakeIsDone);
  }
  if (flags & LEV_OPT_DEFERRED_ACCEPT) checks.push(firstByteIsHere);
  return checks;
}

/** A check by a function that may throw, and that passes only with `true`. */
function safely(
  passes: (conn: Deno.Conn) => boolean,
  otherwise: Refusal,
  limits: Limits,
): Check {
  return ({ conn }) => {
    try {
      const outcome: unknown = passes(conn);
      if (outcome === true) return true;
      if (isPromise(outcome)) callHook(() => outcome); // it may reject
    } catch (error) {
      limits.onError(error, conn);
    }
    return otherwise;
  };
}
