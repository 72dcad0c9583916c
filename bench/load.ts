/** The load on a server, from a process of its own. */
import { installed, pin, Process, run } from "./process.ts";

const CLIENTS = 50;
const client = [
  Deno.execPath(),
  "run",
  "--quiet",
  "--allow-net",
  "--allow-read", // the certificate
  `${import.meta.dirname}/client.ts`,
];
const redis = await installed("redis-benchmark");

/** What makes connections and messages here. */
export const loadName = redis
  ? "redis-benchmark"
  : "bench/client.ts, as redis-benchmark is not installed";

/** Makes so many connections with a PING on each; how many per second. */
export function connections(port: number, count: number): Promise<number> {
  return redis ? redisBenchmark(port, count, 0) : ask("connect", port, count);
}

/** The same from a proxy that sends a PROXY header of a version first. */
export function proxied(
  version: 1 | 2,
): (port: number, count: number) => Promise<number> {
  return (port, count) => ask("connect", port, count, version);
}

/** Sends so many PINGs on open connections; how many per second. */
export function messages(port: number, count: number): Promise<number> {
  return redis ? redisBenchmark(port, count, 1) : ask("ping", port, count);
}

/** Asks so often over HTTP on open connections; how many answers per second. */
export function requests(port: number, count: number): Promise<number> {
  return ask("http", port, count);
}

/** Sends so many messages of a size and takes them back; how many per second. */
export function echoes(
  port: number,
  count: number,
  size: number,
): Promise<number> {
  return ask("echo", port, count, size);
}

/** Makes so many TLS connections with a PING on each; how many per second. */
export function handshakes(port: number, count: number): Promise<number> {
  return ask("handshake", port, count);
}

/** Streams so many messages of a size over TLS, and back; how many per second. */
export function tlsStream(
  port: number,
  count: number,
  size: number,
): Promise<number> {
  return ask("tls-stream", port, count, size);
}

/** Opens so many connections, which stay open until the process is disposed of. */
export async function hold(port: number, count: number): Promise<Process> {
  const holder = new Process("load", [
    ...client,
    "hold",
    `${port}`,
    `${count}`,
  ]);
  await holder.line();
  return holder;
}

/** What became of a client that came with many others. */
export interface Arrival {
  /** From connect() to the answer. */
  ms: number;
  /** How often its SYN was sent again, because the first found no room. */
  again: number;
}

/** Has so many clients connect at once, each with a PING. The client is `burst.c`, compiled. */
export async function burst(
  client: string,
  port: number,
  count: number,
): Promise<Arrival[]> {
  const lines = await run(pin("load", [client, `${port}`, `${count}`]));
  return lines.trim().split("\n").map((line) => {
    const [ms, again] = line.split(" ").map(Number) as [number, number];
    return { ms, again };
  });
}

async function ask(mode: string, ...numbers: number[]): Promise<number> {
  return Number(
    await run(pin("load", [...client, mode, ...numbers.map(String)])),
  );
}

async function redisBenchmark(
  port: number,
  count: number,
  keepAlive: 0 | 1,
): Promise<number> {
  const csv = await run(pin("load", [
    "redis-benchmark",
    ...["-p", `${port}`, "-n", `${count}`, "-c", `${CLIENTS}`],
    ...["-k", `${keepAlive}`, "--csv", "PING"],
  ]));
  const rate = /^"PING[^"]*","([\d.]+)"/m.exec(csv)?.[1];
  if (rate === undefined) throw new Error(`redis-benchmark printed ${csv}`);
  return Number(rate);
}
