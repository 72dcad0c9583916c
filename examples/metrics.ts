/**
 * An echo server that can be observed. Prometheus gets what its workers count over
 * HTTP. Deno can also send it, as OpenTelemetry metrics. Each number has the label
 * `worker`.
 *
 * ```sh
 * deno task example examples/metrics.ts --metrics-port 9464 --workers 2 9876
 * curl http://127.0.0.1:9464/metrics
 * OTEL_DENO=true deno task example examples/metrics.ts 9876
 * ```
 *
 * With OTEL_DENO=true Deno sends the metrics to a collector on `http://localhost:4318`.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import type { ListenerStats } from "@evconn/listener";
import { listenParallel } from "@evconn/listener/parallel";
import { metrics } from "npm:@opentelemetry/api@^1.9.0";
import { commandLine } from "./command_line.ts";
import { formatAddress, tryTo } from "./messages.ts";
import { type Data, parseWorkers } from "./run_workers.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: metrics.ts [options] [port]

Sends back whatever a client sends, and tells how many clients there were. The
port is 9876 if none is given.

Options:
  --hostname ADDRESS   Listen on this address (default: 127.0.0.1)
  --metrics-port PORT  Serve /metrics there (default: 9464)
  --workers NUMBER     Serve with so many threads (default: 1)
  --verbose            Print the address of each client
  --help               Show this and exit`;

/** What each number is called, whether it only grows, and what it counts. */
const METRICS: [keyof ListenerStats, string, "counter" | "gauge", string][] = [
  ["accepted", "accepted_total", "counter", "Connections accepted."],
  ["active", "active", "gauge", "Connections being served."],
  ["parked", "parked", "gauge", "Connections waiting for a resume."],
  ["waiting", "waiting", "gauge", "Connections not ready yet."],
  ["rejected", "rejected_total", "counter", "Connections turned away."],
  ["aborted", "aborted_total", "counter", "Clients gone before delivery."],
  ["timedOut", "timed_out_total", "counter", "Connections idle too long."],
  ["acceptErrors", "accept_errors_total", "counter", "Failures to accept."],
  ["connectionErrors", "errors_total", "counter", "Connections that failed."],
];

const options = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 9876,
  "metrics-port": 9464,
  workers: "1",
});
const { hostname, port, "metrics-port": metricsPort, verbose } = options;
const workers = parseWorkers(options.workers);

/** Each worker's numbers in Prometheus' text format. */
function exposition(stats: ListenerStats[]): string {
  return METRICS.map(([key, name, type, help]) =>
    `# HELP listener_connections_${name} ${help}\n` +
    `# TYPE listener_connections_${name} ${type}\n` +
    stats.map((each, worker) =>
      `listener_connections_${name}{worker="${worker}"} ${each[key]}\n`
    ).join("")
  ).join("");
}

/** Tells OpenTelemetry whenever it asks. Does nothing unless OTEL_DENO is set. */
function observe() {
  const meter = metrics.getMeter("listener");
  for (const [key, name, type, description] of METRICS) {
    const instrument = `listener.connections.${name.replace("_total", "")}`;
    const observable = type === "counter"
      ? meter.createObservableCounter(instrument, { description })
      : meter.createObservableGauge(instrument, { description });
    observable.addCallback(async (result) => {
      const { workers } = await service.stats();
      for (const [worker, stats] of workers.entries()) {
        result.observe(stats[key], { worker });
      }
    });
  }
}

/** What Prometheus asks for. */
async function answer(request: Request): Promise<Response> {
  // Whoever connects may write anything into the Host header.
  if (URL.parse(request.url)?.pathname !== "/metrics") {
    return new Response("Try /metrics\n", { status: 404 });
  }
  const { workers } = await service.stats();
  return new Response(exposition(workers), {
    headers: { "content-type": "text/plain; version=0.0.4" },
  });
}

const service = await tryTo(
  `listen on ${hostname}:${port}`,
  () =>
    listenParallel<Data>(
      new URL("./parallel_echo/worker.ts", import.meta.url),
      { hostname, port, workers, data: { verbose } },
    ),
);
const http = tryTo(
  `listen on ${hostname}:${metricsPort}`,
  () => Deno.serve({ hostname, port: metricsPort, onListen: () => {} }, answer),
);
observe();
console.log(`Echoing on ${formatAddress(service.addr)}`);
console.log(`Metrics on http://${formatAddress(http.addr)}/metrics`);

onEndSignal((again) => {
  if (again) Deno.exit();
  service.shutdown();
});
await service.finished;
await http.shutdown();
