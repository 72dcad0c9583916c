/** The clients that keep coming while `restart_under_load.ts` restarts the servers. */

/** How many messages a client sends before it goes. */
const MESSAGES = 5;
/** How long a client thinks before each of them, in ms. */
const PAUSE = 5;

/** What became of the clients. */
export class Clients {
  /** Those that have got back everything. */
  answered = 0;
  /** The others: refused, reset, or closed before the last answer. */
  lost = 0;
  /** From which ports they have connected. */
  readonly ports: number[] = [];

  /** One client after the other, until it is told to stop. */
  async keepComing(port: number, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      if (await this.#come(port)) this.answered++;
      else this.lost++;
    }
  }

  async #come(port: number): Promise<boolean> {
    try {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      this.ports.push(conn.localAddr.port);
      for (let i = 0; i < MESSAGES; i++) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        if (!await isEchoed(conn, `message ${i}\n`)) return false;
      }
      return true;
    } catch {
      return false;
    }
  }
}

async function isEchoed(conn: Deno.Conn, message: string): Promise<boolean> {
  const bytes = new TextEncoder().encode(message);
  await conn.write(bytes); // so few bytes go in one piece
  const buffer = new Uint8Array(bytes.length);
  let length = 0;
  while (length < buffer.length) {
    const more = await conn.read(buffer.subarray(length));
    if (more === null) return false;
    length += more;
  }
  return new TextDecoder().decode(buffer) === message;
}
