/** The counters of a listener, at zero and added up. */
import type { ListenerStats } from "./types.ts";

/** The counters of a new listener. */
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

/** Adds up two sets of counters. Written out, because a loop over the keys is slower. */
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
