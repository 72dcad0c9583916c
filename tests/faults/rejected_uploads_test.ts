/** Clients that are turned away while they send a lot, behind a proxy that sends on and on. */
import { assertEquals } from "@std/assert";
import { listen } from "@evconn/listener";
import { run } from "../helpers/example_process.ts";
import { freePort } from "../helpers/free_port.ts";
import { missing } from "../helpers/missing.ts";
import { Proxy } from "../helpers/proxies.ts";

const SORRY = new TextEncoder().encode(
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfull\n",
);
const UPLOAD = "x".repeat(3_000_000);
const UPLOADS = 40;

// Either it sends while the client does, or all of it when the client has sent it.
for (const buffering of ["off", "on"]) {
  Deno.test({
    name:
      `onReject's answer reaches every client that uploads 3 MB through nginx (proxy_request_buffering ${buffering})`,
    ignore: missing("nginx", "curl"),
    async fn() {
      await using listener = listen({
        hostname: "127.0.0.1",
        port: 0,
        admit: () => false,
        onReject: (conn) => conn.write(SORRY),
      }, () => {});
      const port = freePort();
      await using _nginx = await Proxy.nginxHttp(`server {
        listen 127.0.0.1:${port};
        client_max_body_size 10m;
        proxy_request_buffering ${buffering};
        location / { proxy_pass http://127.0.0.1:${listener.addr.port}; }
      }`);
      const answers: string[] = [];
      for (let i = 0; i < UPLOADS; i++) {
        const url = `http://127.0.0.1:${port}/`;
        const args = ["-s", "--data-binary", "@-", "-w", "%{http_code}", url];
        answers.push((await run("curl", args, UPLOAD)).stdout);
      }
      assertEquals(answers, Array(UPLOADS).fill("full\n503"));
    },
  });
}
