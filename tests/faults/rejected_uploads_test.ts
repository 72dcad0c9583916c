/** Clients that are turned away while they send a lot, behind a proxy that sends on and on. */
import { assertEquals } from "@std/assert";
import { listen } from "@evconn/listener";
import { freePort } from "../helpers/free_port.ts";
import { missing } from "../helpers/missing.ts";
import { Proxy } from "../helpers/proxies.ts";

const SORRY = new TextEncoder().encode(
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfull\n",
);
const UPLOAD = new Uint8Array(3_000_000);
const UPLOADS = 40;

// Either it sends while the client does, or all of it when the client has sent it.
for (const buffering of ["off", "on"]) {
  Deno.test({
    name:
      `onReject's answer reaches every client that uploads 3 MB through nginx (proxy_request_buffering ${buffering})`,
    ignore: missing("nginx"),
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
        const response = await fetch(`http://127.0.0.1:${port}/`, {
          method: "POST",
          body: UPLOAD,
        });
        const text = await response.text();
        answers.push(`${response.status} ${text}`);
      }
      assertEquals(answers, Array(UPLOADS).fill("503 full\n"));
    },
  });
}
