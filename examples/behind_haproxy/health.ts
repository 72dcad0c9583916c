/** Answers the health check of HAProxy. */

/**
 * The answer to the health check, and whether HAProxy knows it.
 *
 * HAProxy begins a check when it has the result of the one before. So at the second check
 * after a change it has read the answer to the first. With `rise 1` and `fall 1`, one
 * answer is enough for it to begin or to stop sending clients.
 */
export class Health {
  #answer: "up" | "down" = "up";
  #questions = 0;
  #known = Promise.withResolvers<void>();

  /** Answers one check. */
  async answer(conn: Deno.Conn): Promise<void> {
    this.#questions++;
    if (this.#questions === 2) this.#known.resolve();
    await conn.write(new TextEncoder().encode(`${this.#answer}\n`));
  }

  /** Answers "down" from now on, so that HAProxy stops sending clients. */
  leave(): void {
    this.#answer = "down";
    this.#questions = 0;
    this.#known = Promise.withResolvers();
  }

  /** Resolves when HAProxy knows the current answer. */
  get known(): Promise<void> {
    return this.#known.promise;
  }
}
