/**
 * Clients that have addresses of their own: that of their socket, or one that a PROXY
 * header tells.
 */
import { connect as nodeConnect, type Socket } from "node:net";
import { connect, isGone } from "./clients.ts";
import { roundTrip } from "./faults.ts";
import { hasAddress } from "./machine.ts";
import { bytes } from "./proxy_headers.ts";
import { NODE_CLIENTS_CHOOSE } from "./this_deno.ts";

type At = { addr: Deno.NetAddr };

/**
 * Whether all of 127.0.0.0/8 is this machine, as on Linux and Windows, and a client can
 * come from there.
 */
export const HAS_MANY_ADDRESSES: boolean = NODE_CLIENTS_CHOOSE &&
  hasAddress("127.0.0.2");

/** A client with a socket of node:net's, in the words of Deno's connections. */
class NodeClient implements Disposable {
  readonly #socket: Socket;
  #failure: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", (error) => this.#failure = asDenos(error));
  }

  async read(p: Uint8Array): Promise<number | null> {
    const socket = this.#socket;
    for (;;) {
      // Reading nothing is what makes node:net look for more.
      const length = Math.min(p.length, socket.readableLength);
      const chunk: Uint8Array | null = socket.read(length);
      if (chunk !== null) {
        p.set(chunk);
        return chunk.length;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (socket.readableEnded || socket.destroyed) return null;
      await somethingNew(socket);
    }
  }

  write(p: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#socket.write(Uint8Array.from(p), (error) => {
        if (error) reject(asDenos(error));
        else resolve(p.length);
      });
    });
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Resolves when there is more to read, or nothing will ever be. */
function somethingNew(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const events = ["readable", "end", "close"];
    const heard = () => {
      for (const event of events) socket.off(event, heard);
      resolve();
    };
    for (const event of events) socket.on(event, heard);
  });
}

/** What Deno would have thrown. */
function asDenos(error: Error & { code?: string }): Error {
  const { code, message } = error;
  if (code === "ECONNRESET") return new Deno.errors.ConnectionReset(message);
  if (code === "ECONNABORTED") {
    return new Deno.errors.ConnectionAborted(message);
  }
  if (code === "EPIPE") return new Deno.errors.BrokenPipe(message);
  return error;
}

/** Connects from an address of this machine: 127.0.0.1, 127.0.0.2 and so on. */
export function connectFrom(
  localAddress: string,
  { addr: { port, hostname: host } }: At,
): Promise<Deno.TcpConn> {
  return new Promise((resolve, reject) => {
    const options = { port, host, localAddress, allowHalfOpen: true };
    const socket = nodeConnect(options, () => {
      socket.off("error", reject);
      // No test needs more of it than it has.
      resolve(new NodeClient(socket) as unknown as Deno.TcpConn);
    });
    socket.once("error", reject);
  });
}

/** What a proxy says of a client with this address. */
export function headerOf(address: string): Uint8Array {
  const addresses = address.includes(":")
    ? `TCP6 ${address} 2001:db8::ffff`
    : `TCP4 ${address} 192.0.2.255`;
  return bytes(`PROXY ${addresses} 50000 443\r\n`);
}

/** Connects as a proxy does for a client with this address. */
export async function connectAs(
  address: string,
  to: At,
): Promise<Deno.TcpConn> {
  const conn = await connect(to);
  await conn.write(headerOf(address)); // what is so short goes out whole
  return conn;
}

/** Whether an echo server serves a connection, or has closed it. */
export async function isServed(conn: Deno.Conn): Promise<boolean> {
  try {
    return await roundTrip(conn, "?") === "?";
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}
