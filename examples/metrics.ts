/**
 * An echo server that can be observed: its listener's `stats` for Prometheus over
 * HTTP, and as OpenTelemetry metrics, which Deno sends by itself.
 *
 * ```sh
 * deno task example examples/metrics.ts --metrics-port 9464 9876
 * curl http://127.0.0.1:9464/metrics
 * OTEL_DENO=true deno task example examples/metrics.ts 9876
 * ```
 *
 * Ctrl-C or SIGTERM ends it when the clients that are connected have gone; a
 * second one ends it at once.
 *
 * @module
 */
import { listen, type ListenerStats } from "@evconn/listener";
import { metrics } from "npm:@opentelemetry/api@^1.9.0";
import { commandLine } from "./command_line.ts";
import { formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: metrics.ts [options] [port]

Sends back whatever a client sends, and tells how many clients there were. The
port is 9876 if none is given.

Options:
  --hostname ADDRESS   Listen on this address (default: 127.0.0.1)
  --metrics-port PORT  Serve /metrics there (default: 9464)
  --verbose            Print the address of each client
  --help               Show this and exit`;

/** What each number is called, whether it only grows, and what it counts. */
const METRICS: [keyof ListenerStats, string, "counter" | "gauge", string][] = [
  ["accepted", "accepted_total", "counter", "Connections accepted."],
  ["active", "active", "gauge", "Connections being served."],
  ["parked", "parked", "gauge", "Connections waiting for a resume."],
  ["rejected", "rejected_total", "counter", "Connections over the limit."],
  ["aborted", "aborted_total", "counter", "Clients gone before the accept."],
  ["acceptErrors", "accept_errors_total", "counter", "Failures to accept."],
  ["connectionErrors", "errors_total", "counter", "Connections that failed."],
];

const options = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 9876,
  "metrics-port": 9464,
});
const { hostname, port, "metrics-port": metricsPort, verbose } = options;

/** Sends back what comes in until the client has sent everything. */
function echo(conn: Deno.TcpConn) {
  if (verbose) logClient(conn);
  return conn.readable.pipeTo(conn.writable);
}

/** The numbers in Prometheus' text format. */
function exposition(stats: ListenerStats): string {
  return METRICS.map(([key, name, type, help]) =>
    `# HELP listener_connections_${name} ${help}\n` +
    `# TYPE listener_connections_${name} ${type}\n` +
    `listener_connections_${name} ${stats[key]}\n`
  ).join("");
}

/** Tells OpenTelemetry whenever it asks. Does nothing unless OTEL_DENO is set. */
function observe(stats: () => ListenerStats) {
  const meter = metrics.getMeter("listener");
  for (const [key, name, type, description] of METRICS) {
    const instrument = `listener.connections.${name.replace("_total", "")}`;
    const observable = type === "counter"
      ? meter.createObservableCounter(instrument, { description })
      : meter.createObservableGauge(instrument, { description });
    observable.addCallback((result) => result.observe(stats()[key]));
  }
}

/** What Prometheus asks for. */
function answer(request: Request): Response {
  // Whoever connects may write anything into the Host header.
  if (URL.parse(request.url)?.pathname !== "/metrics") {
    return new Response("Try /metrics\n", { status: 404 });
  }
  return new Response(exposition(listener.stats), {
    headers: { "content-type": "text/plain; version=0.0.4" },
  });
}

const listener = tryTo(
  `listen on ${hostname}:${port}`,
  () => listen({ hostname, port, noDelay: true }, echo),
);
const http = tryTo(
  `listen on ${hostname}:${metricsPort}`,
  () => Deno.serve({ hostname, port: metricsPort, onListen: () => {} }, answer),
);
observe(() => listener.stats);
console.log(`Echoing on ${formatAddress(listener.addr)}`);
console.log(`Metrics on http://${formatAddress(http.addr)}/metrics`);

onEndSignal((again) => {
  if (again) Deno.exit();
  listener.shutdown();
});
await listener.finished;
await http.shutdown();
