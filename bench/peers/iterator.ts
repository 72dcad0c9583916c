/** The same loop over this package's listener. */
import { listen } from "@evconn/listener";
import { pong } from "./pong.ts";

const [port] = Deno.args.map(Number) as [number];
for await (const conn of listen({ hostname: "127.0.0.1", port })) {
  pong(conn);
}
