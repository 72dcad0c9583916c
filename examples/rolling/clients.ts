/** The clients that connect while `rolling_restart.ts` replaces the server. */

/** The results of the requests. */
export interface Counts {
  answered: number;
  /** Reset before the answer, during the TCP handshake or after it. */
  reset: number;
  /** Closed without an answer, and not reset. */
  unanswered: number;
  /** There was no server on the port. */
  refused: number;
}

/** A client that sends requests, each on a new connection, until it is told to stop. */
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
