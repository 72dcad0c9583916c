/** Which stages a listener has around its socket, and in which order. */
import { LEV_OPT_DEFERRED_ACCEPT } from "../flags.ts";
import { realRemoteAddr } from "./covered.ts";
import { firstByte } from "./first_byte.ts";
import { Gate } from "./gate.ts";
import { handshake } from "./handshake.ts";
import { Idle } from "./idle.ts";
import { proxyHeaderReader } from "./proxy_protocol.ts";
import type { Settings } from "./settings.ts";
import type { Outcome, Stage } from "./stage.ts";
import { setTcpOptions } from "./tcp_options.ts";
import { type Step, Waiting } from "./waiting.ts";

/** How long a client may take to be ready, in ms: what libevent asks Linux for. */
const DEFAULT_HANDSHAKE_TIMEOUT = 30_000;

/** What the stages ask the listener, and tell it. */
export interface Host<C extends Deno.Conn> {
  /** Whether there is no place left. */
  isFull(): boolean;
  /** Told that one has taken a place. */
  onEnter(): unknown;
  /** Told that one is not to be delivered, and has to be closed. */
  turnAway(conn: C, why: Exclude<Outcome, true>): void;
  /** Told that a delivered one was closed because it was idle. */
  onTimeOut(): void;
  /** Told what the program's own look at a connection has thrown. */
  onError(error: unknown, conn: C): void;
}

/** A look at a connection, which passes only with `true`. It may throw. */
type Look<C extends Deno.Conn> = (conn: C) => boolean;

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
  const gate = (otherwise: Exclude<Outcome, true>, look: Look<C>) => {
    const safely = (conn: C) => {
      try {
        return look(conn) === true || otherwise;
      } catch (error) {
        host.onError(error, conn);
        return otherwise;
      }
    };
    stage = new Gate(stage, safely, host.turnAway);
  };
  const { proxyProtocol: trusts, noDelay, keepAlive } = settings;
  if (typeof trusts === "function") {
    gate(
      "proxy-header",
      (conn) => trusts(realRemoteAddr(conn) as Deno.NetAddr),
    );
  }
  if (overflow === "reject") gate("full", () => !host.isFull());
  if (noDelay || keepAlive) {
    gate(false, (conn) => setTcpOptions(conn, noDelay, keepAlive));
  }
  const steps = stepsOf(transport, settings);
  if (steps.length > 0) {
    stage = new Waiting(stage, steps, handshakeTimeout, host);
  }
  if (idleTimeout !== Infinity) {
    stage = new Idle(stage, idleTimeout, host.onTimeOut);
  }
  return stage;
}

/** What a client has to do before it is delivered. */
function stepsOf<C extends Deno.Conn>(
  transport: string,
  { flags, proxyProtocol, handshakeTimeout }: Settings<C>,
): Step<C>[] {
  const steps: Step<C>[] = [];
  if (proxyProtocol) steps.push(proxyHeaderReader());
  if (transport === "TLS" && handshakeTimeout !== undefined) {
    steps.push(handshake);
  }
  if (flags & LEV_OPT_DEFERRED_ACCEPT) steps.push(firstByte);
  return steps;
}
