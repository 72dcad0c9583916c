/** What clients do to a listener under test. */
import { connect as nodeConnect } from "node:net";

/** Connects to where something listens. */
export function connect(
  { addr: { hostname, port } }: { addr: Deno.NetAddr },
): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname, port });
}

/** Connects one after the other, so that the kernel queues them in order. */
export async function connectAll(
  listener: { addr: Deno.NetAddr },
  count: number,
): Promise<Deno.TcpConn[]> {
  const conns: Deno.TcpConn[] = [];
  for (let i = 0; i < count; i++) conns.push(await connect(listener));
  return conns;
}

/** Connects and resets (SO_LINGER 0) so many times, a hundred at a time. */
export async function connectAndReset(
  { addr }: { addr: Deno.NetAddr },
  count: number,
): Promise<void> {
  for (let left = count; left > 0; left -= 100) {
    const some = Array.from(
      { length: Math.min(left, 100) },
      () => resetOne(addr),
    );
    await Promise.all(some);
  }
}

function resetOne({ port, hostname }: Deno.NetAddr): Promise<void> {
  return new Promise((resolve) => {
    const socket = nodeConnect(port, hostname, () => socket.resetAndDestroy());
    socket.on("error", () => {}); // a full queue may refuse it: that is an end, too
    socket.on("close", () => resolve());
  });
}

/** Everything that a connection gives until its end, as text. */
export function readAll(conn: Deno.Conn): Promise<string> {
  return new Response(conn.readable).text();
}

/** Whether an error says that the peer has reset a connection: Windows has a second word for it. */
export function isReset(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted;
}

/** Whether an error of a read or a write says that the peer has gone. */
export function isGone(error: unknown): boolean {
  return isReset(error) || error instanceof Deno.errors.BrokenPipe;
}

/** Whether the peer has closed or reset a connection: what its next read says. */
export async function isClosed(conn: Deno.Conn): Promise<boolean> {
  try {
    return await conn.read(new Uint8Array(1)) === null;
  } catch (error) {
    if (isReset(error)) return true;
    throw error;
  }
}

/**
 * Whether a connect failed because the listener closed while the client was in
 * its queue: reset, perhaps before Deno could ask for the address.
 */
export function wasInQueue(error: unknown): boolean {
  return isReset(error) || error instanceof Deno.errors.NotConnected;
}

/** Waits for something that has no event of its own. */
export async function until(
  condition: () => boolean,
  what = String(condition),
  seconds = 60,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Not in time: ${what}`);
    await turns(1);
  }
}

/** Lets the event loop turn a few times: what was about to happen has happened. */
export async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
