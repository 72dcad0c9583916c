/** Counts of connections, added up and at zero: all keys of the stats are here. */
import type { ListenerStats } from "./types.ts";

/** What a listener has counted before anything has come. */
export const NOTHING: Readonly<ListenerStats> = {
  accepted: 0,
  active: 0,
  parked: 0,
  waiting: 0,
  rejected: 0,
  aborted: 0,
  timedOut: 0,
  acceptErrors: 0,
  connectionErrors: 0,
};

/** Two counts together. Written out, as stats are asked for often. */
export function sum(one: ListenerStats, other: ListenerStats): ListenerStats {
  return {
    accepted: one.accepted + other.accepted,
    active: one.active + other.active,
    parked: one.parked + other.parked,
    waiting: one.waiting + other.waiting,
    rejected: one.rejected + other.rejected,
    aborted: one.aborted + other.aborted,
    timedOut: one.timedOut + other.timedOut,
    acceptErrors: one.acceptErrors + other.acceptErrors,
    connectionErrors: one.connectionErrors + other.connectionErrors,
  };
}
