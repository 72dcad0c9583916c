/**
 * Prints how long it takes to close all connections, in ms, as JSON: by hand, with
 * `shutdown({ timeout: 0 })`, and with handlers that watch the listener's signal.
 */
import { listen } from "@evconn/listener";
import { pong } from "./pong.ts";
import { told } from "./told.ts";

const [way, portText] = Deno.args as [string, string];
const address = { hostname: "127.0.0.1", port: Number(portText) };

function byHand(): () => Promise<unknown> {
  const served = new Map<Deno.Conn, Promise<void>>();
  const socket = Deno.listen(address);
  (async () => {
    for await (const conn of socket) {
      served.set(conn, pong(conn).finally(() => served.delete(conn)));
    }
  })();
  return () => {
    socket.close();
    const pending = [...served.values()];
    for (const conn of served.keys()) conn[Symbol.dispose]();
    return Promise.all(pending);
  };
}

function withoutTimeout(): () => Promise<unknown> {
  const listener = listen(address, pong);
  return () => {
    listener.shutdown({ timeout: 0 });
    return listener.finished; // until the last handler has noticed
  };
}

function heedingSignal(): () => Promise<unknown> {
  const listener = listen(address, (conn, { signal }) => {
    signal.addEventListener("abort", () => conn[Symbol.dispose]());
    return pong(conn);
  });
  return () => listener.shutdown();
}

const ways: Record<string, () => () => Promise<unknown>> = {
  "by hand": byHand,
  "timeout: 0": withoutTimeout,
  "handlers heed signal": heedingSignal,
};
const end = ways[way]!();
await told();
const start = performance.now();
await end();
console.log(JSON.stringify({ ms: performance.now() - start }));
await told(); // until its CPU time has been read
