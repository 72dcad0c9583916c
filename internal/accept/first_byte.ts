import type { ConnState } from "../conn/conn_state.ts";
import { readAhead } from "../conn/front.ts";

/**
 * Whether a client has sent something (LEV_OPT_DEFERRED_ACCEPT). The kernel could wait
 * for that itself (TCP_DEFER_ACCEPT), but Deno does not expose it. So the first bytes
 * are read here. The program gets them with its first read.
 */
export function firstByteIsHere(state: ConnState): boolean | undefined {
  const { ahead } = state;
  if (ahead !== undefined && ahead.length > 0) return true;
  if (ahead?.hasEnded) return false;
  readAhead(state);
}
