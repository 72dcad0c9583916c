/** The hold of `pause()`. */
export const PAUSED = "paused";
/** The hold of `maxConnections`. */
export const FULL = "full";
/** The hold after a failed accept. */
export const BACKOFF = "backoff";

/** The reasons that a program cannot give to `hold()`. */
export const RESERVED: readonly string[] = [PAUSED, FULL, BACKOFF];

/** Holds that end by themselves. They do not stop the delivery of accepted connections. */
const TEMPORARY: ReadonlySet<string> = new Set([FULL, BACKOFF]);

/** Independent reasons not to accept, in the order in which they began. */
export class Holds {
  readonly #counts = new Map<string, number>();
  #stopping = 0; // how many reasons also stop the delivery

  /** The reasons. */
  get list(): string[] {
    return [...this.#counts.keys()];
  }

  /** Whether there is a reason not to accept. */
  get any(): boolean {
    return this.#counts.size > 0;
  }

  /** Whether there is a reason not to deliver what is accepted. */
  get stopDelivery(): boolean {
    return this.#stopping > 0;
  }

  has(reason: string): boolean {
    return this.#counts.has(reason);
  }

  /** Adds a hold. The same reason may be held several times. */
  add(reason: string): void {
    const count = this.#counts.get(reason) ?? 0;
    this.#counts.set(reason, count + 1);
    if (count === 0 && !TEMPORARY.has(reason)) this.#stopping++;
  }

  /** Ends one hold of a reason. */
  remove(reason: string): void {
    const count = this.#counts.get(reason) ?? 0;
    if (count > 1) return void this.#counts.set(reason, count - 1);
    if (this.#counts.delete(reason) && !TEMPORARY.has(reason)) this.#stopping--;
  }

  clear(): void {
    this.#counts.clear();
    this.#stopping = 0;
  }
}
