/** The server that `rolling_restart.ts` replaces: one process of it. */
import { LEV_OPT_REUSEABLE_PORT, listen } from "@evconn/listener";
import { logClient, tryTo } from "../messages.ts";

const [hostname = "", port = "", end = "", verbose = ""] = Deno.args;

/** Says which server it was, after a moment of work. */
async function answer(conn: Deno.TcpConn): Promise<void> {
  // stdout is for who has started this server.
  if (verbose) logClient(conn, console.error);
  if (await conn.read(new Uint8Array(64)) === null) return;
  await new Promise((resolve) => setTimeout(resolve, 2));
  await conn.write(new TextEncoder().encode(`served by ${Deno.pid}\n`));
}

const listener = tryTo(`listen on ${hostname}:${port}`, () =>
  listen({
    hostname,
    port: Number(port),
    flags: LEV_OPT_REUSEABLE_PORT,
  }, answer));
Deno.addSignalListener("SIGTERM", async () => {
  if (end === "shutdown") await listener.shutdown();
  else await listener.close();
  Deno.exit(); // with close(), under the hands of whoever is being served
});
console.log("listening");
await listener.finished;
