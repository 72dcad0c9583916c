/**
 * A TCP proxy. It forwards connections to its targets in turn. While no target answers,
 * clients wait in the kernel's queue.
 *
 * ```sh
 * deno task example examples/tcp_proxy.ts 9000 127.0.0.1:9876
 * nc 127.0.0.1 9000
 * ```
 *
 * To try it, start a target with `deno task echo`, before or after the client.
 *
 * With a file that has a target in each line, the targets can change while the proxy runs:
 *
 * ```sh
 * echo 127.0.0.1:9876 > targets.txt
 * deno task example examples/tcp_proxy.ts --targets targets.txt 9000
 * ```
 *
 * Ctrl-C or SIGTERM ends it as soon as its connections have ended. A second Ctrl-C ends
 * it at once.
 *
 * @module
 */
import { type ConnListener, listen } from "@evconn/listener";
import { commandLine } from "./command_line.ts";
import { fail, formatAddress, logClient, tryTo } from "./messages.ts";
import {
  type Address,
  dial,
  parseAddress,
  parseTargets,
  readTargets,
  watchFile,
} from "./proxy/targets.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: tcp_proxy.ts [options] [HOST:]PORT TARGET...

Listens on PORT (of 127.0.0.1 if no HOST is given) and forwards each connection
to one of the targets, HOST:PORT each.

Options:
  --targets FILE  Take the targets from FILE, one a line. When FILE changes, or
                  on SIGHUP, new connections go to the new targets.
  --verbose       Print the address of each client
  --help          Show this and exit`;

/** The wait between two attempts to reach a target, in ms. It doubles from MIN to MAX. */
const MIN_WAIT = 50, MAX_WAIT = 1000;

const { targets: file, verbose, words } = commandLine(HELP, {
  targets: undefined,
});
const [where = "", ...addresses] = words;
if (file !== undefined && addresses.length > 0) {
  fail("Give either targets or --targets");
}

let targets = tryTo(
  "start",
  () => file !== undefined ? readTargets(file) : parseTargets(addresses),
);
let recovery: Promise<void> | undefined;

async function forward(
  client: Deno.TcpConn,
  listener: ConnListener,
  to: Address[],
) {
  if (verbose) logClient(client);
  let target = await dial(to);
  while (target === undefined) {
    await (recovery ??= recover(listener));
    if (listener.signal.aborted) return;
    target = await dial(targets);
  }
  using upstream = target;
  await Promise.all([copy(client, upstream), copy(upstream, client)]);
}

/**
 * Copies one direction, and its FIN. Not `pipeTo()`: at the end of a `readable` Deno
 * closes both directions, and a client that has sent its FIN would get no answer.
 */
async function copy(from: Deno.TcpConn, to: Deno.TcpConn) {
  const buffer = new Uint8Array(64 * 1024);
  const writer = to.writable.getWriter();
  for (let length; (length = await from.read(buffer)) !== null;) {
    await writer.write(buffer.subarray(0, length));
  }
  await to.closeWrite();
}

/** Pauses until a target answers. Clients wait in the kernel's queue. */
async function recover(listener: ConnListener) {
  listener.pause();
  console.log("No target answers: clients wait");
  for (let wait = MIN_WAIT; !listener.signal.aborted;) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    using conn = await dial(targets);
    if (conn) {
      console.log("A target answers again");
      break;
    }
    wait = Math.min(2 * wait, MAX_WAIT);
  }
  recovery = undefined;
  listener.resume();
}

const address = tryTo("start", () => parseAddress(where, "127.0.0.1"));
const listener = tryTo(
  `listen on ${formatAddress(address)}`,
  () => listen({ ...address, noDelay: true }, forward, targets),
);
console.log(`Forwarding from ${formatAddress(listener.addr)}`);

/** Uses the targets that the file has now. If the file is not valid, nothing changes. */
function reload(file: string) {
  try {
    targets = readTargets(file);
    listener.setCallback(forward, targets);
    console.log(`Forwarding to ${targets.map(formatAddress).join(", ")}`);
  } catch (error) {
    console.error(`Cannot use ${file}: ${(error as Error).message}`);
  }
}

onEndSignal((again) => {
  listener.shutdown(again ? { timeout: 0 } : {});
});
if (file !== undefined) {
  Deno.addSignalListener("SIGHUP", () => reload(file));
  tryTo("start", () => watchFile(file, () => reload(file), listener.signal));
}
await listener.finished;
