/** What a TLS handshake costs, and what a byte costs that is echoed over TLS. */
import { handshakes, tlsStream } from "../load.ts";
import { installed } from "../process.ts";
import { alone, byTurns, comparedTo, type Scenario } from "../scenario.ts";

const BASELINE = "node:tls in Deno";
const MESSAGE = 64 * 1024;
const MESSAGES_PER_MB = 1024 * 1024 / MESSAGE;

const program = `${import.meta.dirname}/../peers/tls.mjs`;
const run = [Deno.execPath(), "run", "--quiet", "--allow-net", "--allow-read"];
const deno = (name: string) => ({ name, command: [...run, program, name] });

/** The command of each row, but for the size of the buffer. */
async function rows() {
  const node = await installed("node");
  if (!node) console.error("Node is left out: node is not installed");
  return [
    deno("Deno.listenTls"),
    deno("listenTls"),
    deno("serveTls"),
    { name: BASELINE, command: [...run, program, "node:tls"] },
    ...node ? [{ name: "Node", command: ["node", program, "node:tls"] }] : [],
  ];
}

export const tls: Scenario = async ({ connections, echoes }) => {
  const peers = await rows();
  const start = (buffer: number) =>
    peers.map(({ name, command }) => ({
      name,
      start: () => alone([...command, String(buffer)]),
    }));
  const baselines = comparedTo(BASELINE, peers);
  return [
    {
      title: "tls: handshakes, with one short message each",
      columns: { "CPU µs/handshake": 0, "handshakes/s": 0 },
      baselines,
      round: byTurns(
        start(1024),
        handshakes,
        connections / 10,
        ({ cpu, rate }) => ({ "CPU µs/handshake": cpu, "handshakes/s": rate }),
      ),
    },
    {
      title: "tls: a stream and its echo on 4 connections",
      columns: { "CPU µs/MB": 0, "MB/s": 1 },
      baselines,
      round: byTurns(
        start(MESSAGE),
        (port, count) => tlsStream(port, count, MESSAGE),
        echoes * 4,
        ({ cpu, rate }) => ({
          "CPU µs/MB": cpu * MESSAGES_PER_MB,
          "MB/s": rate / MESSAGES_PER_MB,
        }),
      ),
    },
  ];
};
