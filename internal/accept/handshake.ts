import type { ConnState } from "../conn/conn_state.ts";

/** Whether a client's TLS handshake is done, or has failed. */
export function handshakeIsDone(state: ConnState): boolean | undefined {
  if (state.handshake === undefined) begin(state);
  if (state.handshake !== "pending") return state.handshake === "done";
}

async function begin(state: ConnState): Promise<void> {
  state.handshake = "pending";
  try {
    await (state.conn as Deno.TlsConn).handshake();
    state.handshake = "done";
  } catch {
    state.handshake = "failed";
  }
  state.onCome?.(state);
}
