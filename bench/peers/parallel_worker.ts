/** A worker of parallel.ts: works, and answers every read with `+PONG`. */
import { serveParallel } from "@evconn/listener/parallel";
import { pong } from "./pong.ts";
import { newWork } from "./work.mjs";

const PONG = new TextEncoder().encode("+PONG\r\n");
let work: (() => unknown) | undefined;

async function workAndPong(conn: Deno.Conn, work: () => unknown) {
  const buffer = new Uint8Array(1024);
  try {
    while (await conn.read(buffer) !== null) {
      work();
      await conn.write(PONG);
    }
  } catch {
    // The client has reset the connection.
  }
}

serveParallel<number>((conn, _, us) =>
  us === 0 ? pong(conn) : workAndPong(conn, work ??= newWork(us))
);
