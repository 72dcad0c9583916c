/** Which stages a listener has around its socket, and in which order. */
import { LEV_OPT_DEFERRED_ACCEPT } from "../../flags.ts";
import { realRemoteAddr } from "../conn/covered.ts";
import { firstByte } from "./first_byte.ts";
import { Gate } from "./gate.ts";
import { handshake } from "./handshake.ts";
import { callHook, isPromise } from "../util/hooks.ts";
import { Idle } from "../conn/idle.ts";
import { readProxyHeader } from "../proxy/on_conn.ts";
import type { Settings } from "../settings.ts";
import type { Outcome, Stage } from "./stage.ts";
import { setTcpOptions } from "./tcp_options.ts";
import { type Step, Waiting } from "./waiting.ts";

/** How long a client may take to be ready, in ms: what libevent asks Linux for. */
const DEFAULT_HANDSHAKE_TIMEOUT = 30_000;

/** What the stages ask the listener, and tell it. */
export interface Host<C extends Deno.Conn> {
  /** Whether there is no place left. */
  isFull(): boolean;
  /** The program's own say about a connection; undefined where it has none. */
  admits: ((conn: C) => boolean) | undefined;
  /** Whether a connection's peer has a place left. It has taken it then. */
  peerHasRoom(conn: C): boolean;
  /** Told that one has taken a place. */
  onEnter(): unknown;
  /** Told that one is not to be delivered, and has to be closed. */
  turnAway(conn: C, why: Exclude<Outcome, true>): void;
  /** Told that a delivered one was closed because it was idle. */
  onTimeOut(): void;
  /** Told what the program's own look at a connection has thrown. */
  onError(error: unknown, conn: C): void;
}

/** A look at a connection, and what is said of one that does not pass. */
type Gated<C extends Deno.Conn> = [
  look: (conn: C) => boolean,
  otherwise: Exclude<Outcome, true>,
];

/** The outermost stage around a socket. */
export function stagesAround<C extends Deno.Conn, A extends Deno.Addr>(
  socket: Stage<C, A>,
  transport: string,
  settings: Settings<C>,
  host: Host<C>,
): Stage<C, A> {
  const { overflow, idleTimeout } = settings;
  const { handshakeTimeout = DEFAULT_HANDSHAKE_TIMEOUT } = settings;
  let stage = socket;
  const { proxyProtocol: trusts, noDelay, keepAlive } = settings;
  const gates: Gated<C>[] = [];
  if (typeof trusts === "function") {
    const isTrusted = (conn: C) => trusts(realRemoteAddr(conn) as Deno.NetAddr);
    gates.push([isTrusted, "proxy-header"]);
  }
  if (overflow === "reject") gates.push([() => !host.isFull(), "full"]);
  if (noDelay || keepAlive) {
    gates.push([(conn) => setTcpOptions(conn, noDelay, keepAlive), false]);
  }
  const steps = stepsOf(transport, settings, host);
  if (steps.length === 0 && host.admits) {
    gates.push([host.admits, "not-admitted"]);
  }
  for (const gated of gates) {
    stage = new Gate(stage, safely(gated, host), host.turnAway);
  }
  if (steps.length > 0) {
    stage = new Waiting(stage, steps, handshakeTimeout, host);
  }
  if (idleTimeout !== Infinity) {
    stage = new Idle(stage, idleTimeout, host.onTimeOut);
  }
  return stage;
}

/** What a look says that may throw, and passes only with `true`. */
function safely<C extends Deno.Conn>(
  [look, otherwise]: Gated<C>,
  host: Host<C>,
): (conn: C) => Outcome {
  return (conn) => {
    try {
      const passes: unknown = look(conn);
      if (passes === true) return true;
      if (isPromise(passes)) callHook(() => passes); // it may reject
      return otherwise;
    } catch (error) {
      host.onError(error, conn);
      return otherwise;
    }
  };
}

/** What a client has to do before it is delivered, and what is looked at on the way. */
function stepsOf<C extends Deno.Conn>(
  transport: string,
  { flags, proxyProtocol, handshakeTimeout }: Settings<C>,
  host: Host<C>,
): Step<C>[] {
  const address: Step<C>[] = proxyProtocol ? [readProxyHeader] : [];
  const readiness: Step<C>[] = [];
  if (transport === "TLS" && handshakeTimeout !== undefined) {
    readiness.push(handshake);
  }
  if (flags & LEV_OPT_DEFERRED_ACCEPT) readiness.push(firstByte);
  if (address.length + readiness.length === 0) return [];
  const { admits, peerHasRoom } = host;
  const looks: Gated<C>[] = [[peerHasRoom, "peer"]];
  if (admits) looks.unshift([admits, "not-admitted"]);
  return [
    ...address,
    ...looks.map((look) => safely(look, host)),
    ...readiness,
  ];
}
