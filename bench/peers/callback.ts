/** This package's listener with a callback, which counts and closes connections. */
import { listen } from "@evconn/listener";
import { pong } from "./pong.ts";

const [port] = Deno.args.map(Number) as [number];
listen({ hostname: "127.0.0.1", port }, pong);
