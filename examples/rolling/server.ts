/** The server that `rolling_restart.ts` replaces: one process of it. */
import {
  type ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_REUSEABLE_PORT,
  listen,
} from "@evconn/listener";

const [hostname = "", port = "", end = ""] = Deno.args;

/** Says which server it was, after a moment of work. */
async function answer(conn: Deno.TcpConn): Promise<void> {
  if (await conn.read(new Uint8Array(64)) === null) return;
  await new Promise((resolve) => setTimeout(resolve, 2));
  await conn.write(new TextEncoder().encode(`served by ${Deno.pid}\n`));
}

function start(): ConnListener {
  try {
    const flags = LEV_OPT_REUSEABLE_PORT | LEV_OPT_CLOSE_ON_FREE;
    return listen({ hostname, port: Number(port), flags }, answer);
  } catch (error) {
    console.error(
      `Cannot listen on ${hostname}:${port}: ${(error as Error).message}`,
    );
    Deno.exit(1);
  }
}

const listener = start();
Deno.addSignalListener("SIGTERM", async () => {
  if (end === "shutdown") await listener.shutdown();
  else await listener.close();
  Deno.exit(); // with close(), under the hands of whoever is being served
});
console.log("listening");
await listener.finished;
