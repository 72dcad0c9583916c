import { Socket } from "../accept/socket.ts";
import type { Place } from "./protocol.ts";
import type { ParallelMode } from "./types.ts";

/** What `Deno.listen` takes for a place. */
type Bind = Omit<Place, "mode">;

/** How one more socket is opened for a queue that is there already. */
export type Share = (bind: Bind) => Deno.TcpListener;

/**
 * Deno's own means, which `deno serve --parallel` uses. The option is not in Deno's
 * types.
 */
const share: Share = (bind) =>
  Deno.listen({ ...bind, loadBalanced: true } as Deno.TcpListenOptions);

/**
 * Finds out where workers can listen, and how they can share the port: by listening.
 * The place has the hostname that was asked for, which is what may be permitted.
 *
 * @param bind Where to listen. Port 0 becomes a real one.
 * @param by How a queue is shared.
 * @throws What `Deno.listen` does, if the port is taken, by this process or another.
 */
export function findPlace(
  bind: Bind,
  by: Share = share,
): { place: Place; addr: Deno.NetAddr } {
  // A socket that is shared does not say that its port is taken, and two that ask
  // for port 0 are one. A plain one finds both out.
  const plain = Deno.listen(bind);
  const { addr } = plain;
  plain.close();
  const found = { ...bind, port: addr.port };
  return { place: { ...found, mode: modeAt(found, by) }, addr };
}

function modeAt(bind: Bind, by: Share): ParallelMode {
  if (canShare(bind, by)) return "shared";
  const hasReusePort = Deno.build.os === "linux" && "listenDatagram" in Deno;
  return hasReusePort ? "reusePort" : "single";
}

/** Where sharing is unknown, the second one finds the address in use. */
function canShare(bind: Bind, by: Share): boolean {
  using _first = by(bind);
  try {
    by(bind).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}

/**
 * Listens at a place that was found, beside the other workers.
 *
 * @param balanced Makes a socket that shares its queue, by what opens one more.
 */
export function listenAt(
  place: Place,
  balanced: (open: () => Deno.Listener) => Socket,
): Socket {
  const { mode, ...bind } = place;
  if (mode === "shared") return balanced(() => share(bind));
  const listener = Deno.listen({ ...bind, reusePort: mode === "reusePort" });
  return new Socket(listener, "tcp");
}

/** Keeps the queue of a shared place while no worker does. It accepts nobody. */
export function holdQueue({ mode, ...bind }: Place): Disposable | undefined {
  return mode === "shared" ? share(bind) : undefined;
}
