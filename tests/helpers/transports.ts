/** One test for each transport: TCP, TLS and, where there are any, Unix sockets. */
import {
  type ConnectionCallback,
  ConnListener,
  type ListenerOptions,
} from "@evconn/listener";
import { connect } from "./clients.ts";
import { CERTIFICATE } from "./certificate.ts";
import { TempDir } from "./temp_dir.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };

/** What can be listened on. */
export interface Transport {
  /** A socket of Deno's own. */
  socket(): Deno.Listener;
  /** A client. */
  connect(to: { addr: Deno.Addr }): Promise<Deno.Conn>;
}

/** The library's listener on a transport. */
export function listenOn(
  transport: Transport,
  options: ListenerOptions<Deno.Conn>,
  callback?: ConnectionCallback<Deno.Conn>,
): ConnListener<Deno.Conn> {
  return new ConnListener(transport.socket(), options, callback);
}

export const tcp: Transport = {
  socket: () => Deno.listen(HERE),
  connect: (to) => connect(to as { addr: Deno.NetAddr }),
};

const tls: Transport = {
  socket: () => Deno.listenTls({ ...HERE, ...CERTIFICATE }),
  connect: (to) =>
    Deno.connectTls({
      hostname: "localhost",
      port: (to.addr as Deno.NetAddr).port,
      caCerts: [CERTIFICATE.cert],
    }),
};

const unix = (dir: TempDir): Transport => ({
  socket: () => Deno.listen({ transport: "unix", path: unusedPath(dir) }),
  connect: (to) => {
    const { path } = to.addr as Deno.UnixAddr;
    return Deno.connect({ transport: "unix", path });
  },
});

/** Not every Deno removes the files of the sockets that it closes. */
const unusedPath = ({ path, names }: TempDir) => `${path}/${names.length}`;

/** Makes one test for each transport. Its name is followed by `over TCP`. */
export function testOver(
  name: string,
  test: (transport: Transport) => Promise<void>,
  ignore = false,
): void {
  Deno.test(`${name} over TCP`, { ignore }, () => test(tcp));
  Deno.test(`${name} over TLS`, { ignore }, () => test(tls));
  Deno.test({
    name: `${name} over a Unix socket`,
    ignore: ignore || Deno.build.os === "windows",
    async fn() {
      await using dir = new TempDir();
      await test(unix(dir));
    },
  });
}
