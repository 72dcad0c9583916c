/**
 * A server that says how much of its heap is in use, each time the bench asks on stdin:
 * bare, or this package's listener without an option or with an idle time.
 */
import { listen } from "@evconn/listener";
import { pong } from "./pong.ts";
import { told } from "./told.ts";

const [mode, port] = Deno.args as [string, string];
const where = { hostname: "127.0.0.1", port: Number(port) };

async function serve(): Promise<void> {
  for await (const conn of Deno.listen(where)) pong(conn);
}

if (mode === "bare") serve();
else if (mode === "idleTimeout") {
  listen({ ...where, idleTimeout: 60_000 }, pong);
} else listen(where, pong);

const { gc } = globalThis as unknown as { gc(): void };
for (;;) {
  await told();
  // What one collection finds dead may have kept other objects until the next.
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  console.log(Deno.memoryUsage().heapUsed);
}
