/** One process of the server that `rolling_restart.ts` replaces. */
import { LEV_OPT_REUSEABLE_PORT, listen } from "@evconn/listener";
import { logClient, tryTo } from "../messages.ts";

const [hostname = "", port = "", end = "", verbose = ""] = Deno.args;

/** Answers with the process's number, after some work. */
async function answer(conn: Deno.TcpConn): Promise<void> {
  // stdout is for rolling_restart.ts.
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
  Deno.exit(); // with close(), this ends the connections that are active
});
console.log("listening");
await listener.finished;
