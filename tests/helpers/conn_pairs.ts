/** Accepted connections and their clients, without a listener of the library's. */
import { readAhead as begin, stateOf } from "../../internal/conn/front.ts";
import type { Transport } from "./transports.ts";

/** An accepted connection and its client, both closed at the end of the scope. */
export interface Pair extends Disposable {
  conn: Deno.Conn;
  client: Deno.Conn;
}

/** Connects to a socket that is there for this one connection. */
export async function pairOn({ socket, connect }: Transport): Promise<Pair> {
  using listening = socket();
  const accepting = listening.accept();
  const client = await connect(listening);
  const conn = await accepting;
  if ("handshake" in client) {
    const both = [conn, client] as Deno.TlsConn[];
    await Promise.all(both.map((each) => each.handshake()));
  }
  return {
    conn,
    client,
    [Symbol.dispose]() {
      conn[Symbol.dispose]();
      client[Symbol.dispose]();
    },
  };
}

/** Reads from a connection before anybody asks. Resolves to whether bytes have come. */
export function readAhead(conn: Deno.Conn): Promise<boolean> {
  return new Promise((resolve) => {
    const state = stateOf(conn);
    state.onCome = () => {
      state.onCome = undefined;
      resolve(!state.ahead!.hasEnded);
    };
    begin(state);
  });
}

/** The bytes of a connection that were read ahead. */
export function bytesAhead(conn: Deno.Conn): Uint8Array {
  return stateOf(conn).ahead?.bytes ?? new Uint8Array();
}
