/** What a server says to HAProxy's health check. */

/**
 * The answer to the health check, and whether HAProxy has acted on it.
 *
 * HAProxy begins a check when it is done with the one before. So the second question
 * after a change means that it has read the answer to the first, and, with `rise 1`
 * and `fall 1`, that it sends clients here, or has ceased to.
 */
export class Health {
  #answer: "up" | "down" = "up";
  #questions = 0;
  #known = Promise.withResolvers<void>();

  /** Answers a connection of the health check. */
  async answer(conn: Deno.Conn): Promise<void> {
    this.#questions++;
    if (this.#questions === 2) this.#known.resolve();
    await conn.write(new TextEncoder().encode(`${this.#answer}\n`));
  }

  /** Says "down" from now on: send no more clients. */
  leave(): void {
    this.#answer = "down";
    this.#questions = 0;
    this.#known = Promise.withResolvers();
  }

  /** Resolves when HAProxy has acted on the present answer. */
  get known(): Promise<void> {
    return this.#known.promise;
  }
}
