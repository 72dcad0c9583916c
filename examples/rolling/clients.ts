/** The clients that keep coming while `rolling_restart.ts` replaces the server. */

/** What became of the requests. */
export interface Counts {
  answered: number;
  /** Reset before there was an answer, during the handshake or after it. */
  reset: number;
  /** Closed in good order, but without an answer. */
  unanswered: number;
  /** Nobody listened. */
  refused: number;
}

/** A client that asks, one connection after the other, until it is told to stop. */
export async function ask(
  server: Deno.ConnectOptions,
  counts: Counts,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    try {
      using conn = await Deno.connect(server);
      await conn.write(new TextEncoder().encode("who is it?\n"));
      const length = await conn.read(new Uint8Array(64));
      if (length === null) counts.unanswered++;
      else counts.answered++;
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionRefused) counts.refused++;
      else counts.reset++;
    }
  }
}
