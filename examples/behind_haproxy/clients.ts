/** The clients that connect while `restart_under_load.ts` restarts the servers. */

/** How many messages a client sends before it leaves. */
const MESSAGES = 5;
/** How long a client waits before each message, in ms. */
const PAUSE = 5;

/** Connects clients, and counts the results. */
export class Clients {
  /** Clients that got all answers. */
  answered = 0;
  /** Clients that were refused, reset, or closed before the last answer. */
  lost = 0;
  /** The clients' own ports. */
  readonly ports: number[] = [];

  /** Connects one client after the other, until it is told to stop. */
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
  await conn.write(bytes); // a short message is written at once
  const buffer = new Uint8Array(bytes.length);
  let length = 0;
  while (length < buffer.length) {
    const more = await conn.read(buffer.subarray(length));
    if (more === null) return false;
    length += more;
  }
  return new TextDecoder().decode(buffer) === message;
}
