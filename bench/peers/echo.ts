/** An echo server with a choice of buffer and TCP_NODELAY. */
import { listen } from "@evconn/listener";

const [size, noDelay, port] = Deno.args.map(Number) as [number, number, number];
listen(
  { hostname: "127.0.0.1", port, noDelay: noDelay === 1 },
  async (conn) => {
    const buffer = new Uint8Array(size);
    for (let length; (length = await conn.read(buffer)) !== null;) {
      for (let sent = 0; sent < length;) {
        sent += await conn.write(buffer.subarray(sent, length));
      }
    }
  },
);
