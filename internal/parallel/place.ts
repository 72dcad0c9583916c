import { Socket } from "../accept/socket.ts";
import type { Place } from "./protocol.ts";
import type { ParallelMode } from "./types.ts";

/** The options of `Deno.listen` for a place. */
type Bind = Omit<Place, "mode">;

/** Opens a socket that shares its queue with the others at the same place. */
export type Share = (bind: Bind) => Deno.TcpListener;

/**
 * Shares a queue as `deno serve --parallel` does. The option is not in Deno's types.
 */
const shareByDeno: Share = (bind) =>
  Deno.listen({ ...bind, loadBalanced: true } as Deno.TcpListenOptions);

/**
 * Finds out where workers can listen, and how they can share the port, by listening there.
 * The place has the hostname that was given, because permissions are for that name.
 *
 * @param bind Where to listen. Port 0 is replaced by a free port.
 * @param share Opens a socket of a shared queue.
 * @throws {Deno.errors.AddrInUse} If the port is in use, also by this process.
 */
export function findPlace(
  bind: Bind,
  share: Share = shareByDeno,
): { place: Place; addr: Deno.NetAddr } {
  // A shared socket can be opened on a port that is in use, and shared sockets get the
  // same port for port 0. With a plain socket neither happens.
  const plain = Deno.listen(bind);
  const { addr } = plain;
  plain.close();
  const found = { ...bind, port: addr.port };
  return { place: { ...found, mode: modeAt(found, share) }, addr };
}

function modeAt(bind: Bind, share: Share): ParallelMode {
  if (canShare(bind, share)) return "shared";
  const hasReusePort = Deno.build.os === "linux" && "listenDatagram" in Deno;
  return hasReusePort ? "reusePort" : "single";
}

/** If Deno cannot share a queue, the second socket fails: the address is in use. */
function canShare(bind: Bind, share: Share): boolean {
  using _first = share(bind);
  try {
    share(bind).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}

/**
 * Listens at a place, beside the other workers.
 *
 * @param balanced Makes the socket of a shared queue. Its argument opens one more.
 */
export function listenAt(
  place: Place,
  balanced: (open: () => Deno.Listener) => Socket,
): Socket {
  const { mode, ...bind } = place;
  if (mode === "shared") return balanced(() => shareByDeno(bind));
  const listener = Deno.listen({ ...bind, reusePort: mode === "reusePort" });
  return new Socket(listener, "tcp");
}

/** Keeps a shared queue open while no worker listens. Nothing is accepted. */
export function holdQueue({ mode, ...bind }: Place): Disposable | undefined {
  return mode === "shared" ? shareByDeno(bind) : undefined;
}
