/**
 * An echo server with metrics. Prometheus reads over HTTP what its workers count, their
 * limits, and why connections were rejected. Deno can also send the same numbers as
 * OpenTelemetry metrics. `metrics/exposition.ts` is for your own service.
 *
 * ```sh
 * deno task example examples/metrics.ts --metrics-port 9464 --workers 2 9876
 * curl http://127.0.0.1:9464/metrics
 * OTEL_DENO=true deno task example examples/metrics.ts 9876
 * ```
 *
 * With OTEL_DENO=true Deno sends the metrics to a collector on `http://localhost:4318`.
 * Needs Deno 2.6 for `BroadcastChannel`.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import type { RejectReason } from "@evconn/listener";
import { listenParallel } from "@evconn/listener/parallel";
import { metrics } from "npm:@opentelemetry/api@^1.9.0";
import { commandLine } from "./command_line.ts";
import { formatAddress, tryTo } from "./messages.ts";
import {
  exposition,
  METRICS,
  type Observed,
  type Rejections,
} from "./metrics/exposition.ts";
import { LIMITS, REJECTIONS } from "./metrics/limits.ts";
import { type Data, parseWorkers } from "./run_workers.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: metrics.ts [options] [port]

Sends back whatever a client sends, and counts its clients. The port is
9876 if none is given.

Options:
  --hostname ADDRESS   Listen on this address (default: 127.0.0.1)
  --metrics-port PORT  Serve /metrics there (default: 9464)
  --workers NUMBER     Number of threads (default: 1)
  --verbose            Print the address of each client
  --help               Show this and exit`;

const options = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 9876,
  "metrics-port": 9464,
  workers: "1",
});
const { hostname, port, "metrics-port": metricsPort, verbose } = options;
const workers = parseWorkers(options.workers);

const rejections: Rejections = {
  "full": 0,
  "peer": 0,
  "not-admitted": 0,
  "proxy-header": 0,
};

/** What each worker counts, and its limits. */
async function observed(): Promise<Observed[]> {
  const { workers } = await service.stats();
  return workers.map((stats) => ({ stats, ...LIMITS }));
}

/** Gives OpenTelemetry the numbers when it asks. Does nothing unless OTEL_DENO is set. */
function observe() {
  const meter = metrics.getMeter("listener");
  for (const [name, [type, description, value]] of Object.entries(METRICS)) {
    const instrument = `listener.connections.${name.replace("_total", "")}`;
    const observable = type === "counter"
      ? meter.createObservableCounter(instrument, { description })
      : meter.createObservableGauge(instrument, { description });
    observable.addCallback(async (result) => {
      for (const [worker, each] of (await observed()).entries()) {
        result.observe(value(each), { worker });
      }
    });
  }
  meter.createObservableCounter("listener.rejections", {
    description: "Rejected, by reason",
  }).addCallback((result) => {
    for (const [reason, count] of Object.entries(rejections)) {
      result.observe(count, { reason });
    }
  });
}

/** Answers Prometheus. */
async function answer(request: Request): Promise<Response> {
  // A client may write anything into the Host header.
  if (URL.parse(request.url)?.pathname !== "/metrics") {
    return new Response("Try /metrics\n", { status: 404 });
  }
  return new Response(exposition(await observed(), rejections), {
    headers: { "content-type": "text/plain; version=0.0.4" },
  });
}

const channel = new BroadcastChannel(REJECTIONS);
channel.onmessage = ({ data }) => rejections[data as RejectReason]++;
const service = await tryTo(
  `listen on ${hostname}:${port}`,
  () =>
    listenParallel<Data>(
      new URL("./metrics/worker.ts", import.meta.url),
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
channel.close();
await http.shutdown();
