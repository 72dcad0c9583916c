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

/** What the checks ask, and tell. */
export interface Limits {
  /** Whether there is a place for the one that is being asked. */
  hasPlace(): boolean;
  /** The program's own decision about a connection; undefined where it has none. */
  readonly admits: ((conn: Deno.Conn) => boolean) | undefined;
  /** Counts a connection of its peer, if that has a place left. */
  readonly peerHasPlace: Check;
  /** Told what the program's own decision about a connection has thrown. */
  onError(error: unknown, conn: Deno.Conn): void;
}

/**
 * The trusted peer, the limit, what TCP is set to, the header, `admit`, the limit for
 * each peer, and then what the client has to do.
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
  if (overflow === "reject") checks.push(() => limits.hasPlace() || "full");
  if (noDelay || keepAlive) {
    const set = (conn: Deno.Conn) => setTcpOptions(conn, noDelay, keepAlive);
    checks.push(safely(set, false, limits));
  }
  if (trusts) checks.push(proxyHeaderIsHere);
  if (admits) checks.push(safely(admits, "not-admitted", limits));
  if (transport !== "unix") checks.push(limits.peerHasPlace);
  if (transport === "TLS" && handshakeTimeout !== undefined) {
    checks.push(handshakeIsDone);
  }
  if (flags & LEV_OPT_DEFERRED_ACCEPT) checks.push(firstByteIsHere);
  return checks;
}

/** What may throw, and passes only with `true`. */
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
