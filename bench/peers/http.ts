/** HTTP: `Deno.serve`, `node:http`, or `node:http` on this package's listener. */
import { listen } from "@evconn/listener";
import { serveNode } from "@evconn/listener/node";
import { createServer } from "node:http";

// A NUL at the end, which no header has: then the client knows that it has all.
const BODY = "PONG\0";

const [name = "", portText = ""] = Deno.args;
const bind = { hostname: "127.0.0.1", port: Number(portText) };
const server = createServer((_, response) => response.end(BODY));
if (name === "Deno.serve") Deno.serve(bind, () => new Response(BODY));
else if (name === "node:http") server.listen(bind.port, bind.hostname);
else listen(bind, serveNode(server));
