/**
 * An echo server that can be observed: its listener's `stats` for Prometheus over
 * HTTP, and as OpenTelemetry metrics, which Deno sends by itself.
 *
 * ```sh
 * deno run --allow-net examples/metrics.ts --metrics-port 9464 9876
 * curl http://127.0.0.1:9464/metrics
 * OTEL_DENO=true deno run --allow-net examples/metrics.ts 9876
 * ```
 *
 * Ctrl-C or SIGTERM ends it when the clients that are connected have gone; a
 * second one ends it at once.
 *
 * @module
 */
import { listen, type ListenerStats } from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import { metrics } from "npm:@opentelemetry/api@^1.9.0";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: metrics.ts [options] [port]

Sends back whatever a client sends, and tells how many clients there were. The
port is 9876 if none is given.

Options:
  --hostname ADDRESS   Listen on this address (default: 127.0.0.1)
  --metrics-port PORT  Serve /metrics there (default: 9464)
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

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  string: ["hostname", "metrics-port", "_"],
  boolean: ["help"],
  default: { hostname: "127.0.0.1", "metrics-port": "9464" },
  unknown: (arg) => {
    if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
  },
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}

function parsePort(text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : NaN;
  return port >= 0 && port <= 65535 ? port : fail("Invalid port");
}
const { hostname } = args;
const [portText = "9876", ...surplus] = args._.map(String);
if (surplus.length > 0) fail("There is one port");
const port = parsePort(portText);
const metricsPort = parsePort(args["metrics-port"]);

/** Sends back what comes in until the client has sent everything. */
async function echo(conn: Deno.TcpConn) {
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    for (let sent = 0; sent < length;) {
      sent += await conn.write(buffer.subarray(sent, length));
    }
  }
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

function orFail<T>(port: number, start: () => T): T {
  try {
    return start();
  } catch (error) {
    fail(`Cannot listen on ${hostname}:${port}: ${(error as Error).message}`);
  }
}

const listener = orFail(
  port,
  () => listen({ hostname, port, noDelay: true }, echo),
);
const http = orFail(metricsPort, () => {
  return Deno.serve(
    { hostname, port: metricsPort, onListen: () => {} },
    answer,
  );
});
observe(() => listener.stats);
console.log(`Echoing on ${hostname}:${listener.addr.port}`);
console.log(`Metrics on http://${hostname}:${http.addr.port}/metrics`);

onEndSignal((again) => {
  if (again) Deno.exit();
  listener.shutdown();
});
await listener.finished;
await http.shutdown();
