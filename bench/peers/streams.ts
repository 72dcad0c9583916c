/** The bare loop, or this package's listener with `idleTimeout`, through the streams. */
import { listen } from "@evconn/listener";

const PONG = new TextEncoder().encode("+PONG\r\n");

/** Answers every chunk with `+PONG`. */
async function pong(conn: Deno.Conn): Promise<void> {
  const answers = new TransformStream<Uint8Array, Uint8Array<ArrayBuffer>>({
    transform: (_, controller) => controller.enqueue(PONG),
  });
  try {
    await conn.readable.pipeThrough(answers).pipeTo(conn.writable);
  } catch {
    // The client has reset the connection.
  }
}

const [name = "", port = ""] = Deno.args;
const bind = { hostname: "127.0.0.1", port: Number(port) };
if (name === "bare") { for await (const conn of Deno.listen(bind)) pong(conn); }
else listen({ ...bind, idleTimeout: 60_000 }, pong);
