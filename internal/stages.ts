/** Which stages a listener has around its socket: one line for each. */
import { LEV_OPT_DEFERRED_ACCEPT } from "../flags.ts";
import { dispose } from "./conns.ts";
import { firstByte } from "./first_byte.ts";
import { Gate } from "./gate.ts";
import type { Settings } from "./settings.ts";
import type { Stage } from "./stage.ts";
import { setTcpOptions } from "./tcp_options.ts";
import { Waiting } from "./waiting.ts";

/** What the stages ask the listener, and tell it. */
export interface Host<C extends Deno.Conn> {
  /** Whether there is no place left. */
  isFull(): boolean;
  /** Told that one was closed because of that. */
  onReject(conn: C): void;
  /** Told that one has taken a place. */
  onEnter(): void;
  /** Told that one has gone before it could be delivered. */
  onGone(): void;
}

/** The outermost stage around a socket. */
export function stagesAround<C extends Deno.Conn, A extends Deno.Addr>(
  socket: Stage<C, A>,
  { flags, overflow, noDelay, keepAlive }: Settings<C>,
  host: Host<C>,
): Stage<C, A> {
  const { onEnter, onGone } = host;
  const turnAway = (conn: C, tell: (conn: C) => void) => {
    dispose(conn);
    tell(conn);
    return false;
  };
  let stage = socket;
  if (overflow === "reject") {
    const { isFull, onReject } = host;
    stage = new Gate(stage, (conn) => !isFull() || turnAway(conn, onReject));
  }
  if (noDelay || keepAlive) {
    const set = setTcpOptions(noDelay, keepAlive);
    stage = new Gate(stage, (conn) => set(conn) || turnAway(conn, onGone));
  }
  if (flags & LEV_OPT_DEFERRED_ACCEPT) {
    stage = new Waiting<C, A>(stage, { whenReady: firstByte, onEnter, onGone });
  }
  return stage;
}
