/** What a worker of the service is made of, without the stage that keeps workers even. */
import { ConnListener } from "@evconn/listener";
import { SharedSocket } from "../../internal/parallel/shared_socket.ts";
import { pong } from "./pong.ts";

const scope = globalThis as unknown as Worker;
let listener: ConnListener | undefined;

function serve(port: number): ConnListener {
  const where = { hostname: "127.0.0.1", port, tcpBacklog: 4096 };
  const open = () =>
    Deno.listen({ ...where, loadBalanced: true } as Deno.TcpListenOptions);
  const { listener } = new SharedSocket(open);
  return new ConnListener(listener as Deno.TcpListener, {}, pong);
}

scope.onmessage = ({ data }) => {
  if (data === "active") scope.postMessage(listener?.stats.active);
  else listener = serve(data);
};
