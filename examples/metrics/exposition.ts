/**
 * What listeners count, and their limits, in Prometheus' text format. Copy this file
 * into your service: it needs nothing else from the examples.
 *
 * @module
 */
import type { ListenerStats, RejectReason } from "@evconn/listener";

/** One listener, or one worker of a service. A `ConnListener` has all of this. */
export interface Observed {
  readonly stats: ListenerStats;
  readonly maxConnections: number;
  readonly maxConnectionsPerPeer: number;
}

/** How many connections were rejected for each reason. `onReject` counts them. */
export type Rejections = Record<RejectReason, number>;

type Type = "counter" | "gauge";
type Metric = readonly [Type, string, (worker: Observed) => number];

/** Type, meaning and value of each metric, by name. */
export const METRICS: Readonly<Record<string, Metric>> = {
  accepted_total: [
    "counter",
    "Connections accepted",
    ({ stats }) => stats.accepted,
  ],
  active: ["gauge", "Connections being served", ({ stats }) => stats.active],
  parked: ["gauge", "Accepted and held back", ({ stats }) => stats.parked],
  waiting: [
    "gauge",
    "Accepted and not ready yet",
    ({ stats }) => stats.waiting,
  ],
  rejected_total: ["counter", "Rejected", ({ stats }) => stats.rejected],
  aborted_total: [
    "counter",
    "Gone before delivery",
    ({ stats }) => stats.aborted,
  ],
  timed_out_total: ["counter", "Closed as idle", ({ stats }) => stats.timedOut],
  accept_errors_total: [
    "counter",
    "Failures to accept",
    ({ stats }) => stats.acceptErrors,
  ],
  errors_total: [
    "counter",
    "Callbacks that failed",
    ({ stats }) => stats.connectionErrors,
  ],
  max: ["gauge", "Limit of connections", (worker) => worker.maxConnections],
  max_per_peer: [
    "gauge",
    "Limit per client",
    (worker) => worker.maxConnectionsPerPeer,
  ],
};

/**
 * Writes the text that Prometheus reads.
 *
 * @param workers The workers of a service, or its only listener.
 */
export function exposition(
  workers: readonly Observed[],
  rejections: Rejections,
): string {
  const perWorker = Object.entries(METRICS).map(([name, [type, help, value]]) =>
    header(`listener_connections_${name}`, type, help) +
    workers.map((worker, i) =>
      sample(`listener_connections_${name}{worker="${i}"}`, value(worker))
    ).join("")
  );
  const perReason = Object.entries(rejections).map(([reason, count]) =>
    sample(`listener_rejections_total{reason="${reason}"}`, count)
  );
  return perWorker.join("") +
    header("listener_rejections_total", "counter", "Rejected, by reason") +
    perReason.join("");
}

function header(name: string, type: Type, help: string): string {
  return `# HELP ${name} ${help}.\n# TYPE ${name} ${type}\n`;
}

function sample(name: string, value: number): string {
  return `${name} ${value === Infinity ? "+Inf" : value}\n`;
}
