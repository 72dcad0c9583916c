/**
 * Clients that come all the time, while their listener waits for first bytes and hands its
 * socket on, time and again. `EVCONN_LOAD=60 deno test …` goes on for 60 seconds.
 */
import { assert, assertEquals } from "@std/assert";
import {
  ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  type ListenerOptions,
} from "@evconn/listener";
import { readOnce, Settings } from "../../internal/settings.ts";
import { connect, turns } from "../helpers/clients.ts";
import { writeAll } from "../helpers/faults.ts";
import { random } from "../helpers/proxy_headers.ts";
import { COUNTS_REFS } from "../helpers/this_deno.ts";

type Socket = Deno.Listener<Deno.TcpConn, Deno.NetAddr>;

const seconds = Number(Deno.env.get("EVCONN_LOAD") ?? 2);
const CLIENTS = 24; // at a time
const LENGTH = 8; // of what a client says

/** A socket that changes hands, and whose connections echo. */
class Handing {
  readonly #next = random(Date.now() % 2 ** 31);
  socket: Socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  /** What the first read of each connection gave that gave no bytes. */
  readonly faults: unknown[] = [];
  handovers = 0;
  hasEnded = false;

  /** Reads what its client says, piece by piece, and sends it back. */
  readonly echo = async (conn: Deno.Conn): Promise<void> => {
    using _ = conn;
    const buffer = new Uint8Array(this.#next(2) === 0 ? 1 : LENGTH);
    for (let left = LENGTH; left > 0;) {
      const length = await conn.read(buffer);
      if (!length) {
        this.faults.push(`${length} with ${left} of ${LENGTH} to come`);
        return;
      }
      left -= length;
      await writeAll(conn, buffer.subarray(0, length));
    }
  };

  /** Hands it on for so long. */
  async run(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      if (this.#next(4) === 0) await this.#ask();
      else await this.#own();
      this.handovers++;
    }
    this.hasEnded = true;
  }

  /** A few connections for whoever asks. */
  async #ask(): Promise<void> {
    for (let count = this.#next(4); count > 0; count--) {
      this.echo(await this.socket.accept()).catch((e) => this.faults.push(e));
    }
  }

  /** A listener, for a moment. */
  async #own(): Promise<void> {
    const listener = new ConnListener(this.socket, this.#options(), this.echo);
    if (this.#next(3) === 0) listener.pause();
    await (this.#next(2) === 0
      ? turns(this.#next(3))
      : microtasks(this.#next(30)));
    listener.resume();
    await turns(this.#next(2));
    this.socket = listener.detach();
  }

  #options(): ListenerOptions {
    const settings: unknown = new Settings(
      readOnce({
        flags: this.#next(3) === 0 ? 0 : LEV_OPT_DEFERRED_ACCEPT,
        maxConnections: this.#next(4) === 0 ? 5 : Infinity,
        onConnectionError: (error: unknown) => this.faults.push(error),
      }) as never,
    );
    // Deferred accept is for listen() only, which makes its settings first.
    return settings as ListenerOptions;
  }
}

async function microtasks(count: number): Promise<void> {
  for (; count > 0; count--) await null;
}

/** A client that is silent at first, perhaps, and then sends something in one or two pieces. */
async function visit(
  to: Socket,
  next: (limit: number) => number,
): Promise<void> {
  using client = await connect(to);
  const sent = crypto.getRandomValues(new Uint8Array(LENGTH));
  if (next(3) === 0) await turns(1);
  const at = next(LENGTH);
  await writeAll(client, sent.subarray(0, at));
  if (next(2) === 0) await turns(1);
  await writeAll(client, sent.subarray(at));
  if (next(3) === 0) await client.closeWrite();
  assertEquals(await new Response(client.readable).bytes(), sent);
}

Deno.test(
  "the first read of a connection gives the client's first byte, however often its socket changes hands under load",
  {
    ignore: !COUNTS_REFS,
  },
  async () => {
    const handing = new Handing();
    const next = random(7);
    let visits = 0;
    const come = async () => {
      for (; !handing.hasEnded; visits++) await visit(handing.socket, next);
    };
    const all = [
      handing.run(seconds),
      ...Array.from({ length: CLIENTS }, come),
    ];
    await all[0];
    await using _listener = new ConnListener(handing.socket, {}, handing.echo);
    await Promise.all(all);
    assertEquals(handing.faults, []);
    assert(visits > 100 && handing.handovers > 100);
    if (seconds > 10) {
      console.log(`${visits} visits, ${handing.handovers} handovers`);
    }
  },
);
