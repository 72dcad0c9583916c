/** The loop that everything is compared to. */
import { pong } from "./pong.ts";

const [port] = Deno.args.map(Number) as [number];
for await (const conn of Deno.listen({ hostname: "127.0.0.1", port })) {
  pong(conn);
}
