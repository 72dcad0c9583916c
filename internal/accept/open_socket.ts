/** Opens listening sockets. */
import { Socket } from "./socket.ts";
import { explainAddrInUse, SocketFile } from "./socket_file.ts";

// Read now: a program may replace `Deno.listen` by this package's `listen()`.
const { listen, listenTls } = Deno;

/** Listens as `Deno.listen` does. */
export function openSocket(
  // deno-lint-ignore no-explicit-any
  options: any,
  transport: string,
): Socket {
  if (transport === "unix") return openUnixSocket(options);
  return new Socket(listen(options), transport);
}

function openUnixSocket(
  options: Deno.UnixListenOptions & { transport: "unix" },
): Socket {
  const { path } = options;
  try {
    return new Socket(listen(options), "unix", new SocketFile(path, true));
  } catch (error) {
    throw explainAddrInUse(error, path);
  }
}

/** Listens as `Deno.listenTls` does. */
export function openTlsSocket(
  options: Deno.ListenTlsOptions & Deno.TlsCertifiedKeyPem,
): Socket {
  return new Socket(listenTls(options), "TLS");
}
