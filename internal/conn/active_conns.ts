import { dispose } from "./close.ts";
import { ConnState } from "./conn_state.ts";

/**
 * The connections whose callback's promise is pending, oldest first. They are a linked
 * list, with the links in each `ConnState`.
 */
export class ActiveConns {
  /** The list's sentinel: it is before the first and after the last connection. */
  readonly #ends = new ConnState(undefined as unknown as Deno.Conn);
  #isCutOff = false;
  #emptied: PromiseWithResolvers<void> | undefined;
  /** How many there are. */
  size = 0;
  /** How many have ended by themselves. */
  completed = 0;
  /** How many were closed by `cutOff()`. */
  aborted = 0;

  constructor() {
    this.#ends.previous = this.#ends.next = this.#ends;
  }

  /** Resolves when there are none. */
  async emptied(): Promise<void> {
    if (this.size > 0) {
      await (this.#emptied ??= Promise.withResolvers()).promise;
    }
  }

  add(state: ConnState): void {
    const last = this.#ends.previous!;
    state.previous = last;
    state.next = this.#ends;
    last.next = this.#ends.previous = state;
    this.size++;
    if (this.#isCutOff) this.#abort(state);
  }

  /** Deletes a connection whose callback has ended. */
  delete(state: ConnState): void {
    state.previous!.next = state.next;
    state.next!.previous = state.previous;
    state.previous = state.next = undefined;
    this.size--;
    if (!this.#isCutOff) this.completed++;
    if (this.#emptied && this.size === 0) this.#emptied.resolve();
  }

  /** Iterates over the connections of now, without those that end meanwhile. */
  *[Symbol.iterator](): Generator<ConnState> {
    for (const state of this.#all()) {
      if (state.next !== undefined) yield state;
    }
  }

  #all(): ConnState[] {
    const all: ConnState[] = [];
    for (let at = this.#ends.next!; at !== this.#ends; at = at.next!) {
      all.push(at);
    }
    return all;
  }

  /** Closes all connections, also those that are added later. */
  cutOff(): void {
    if (this.#isCutOff) return;
    this.#isCutOff = true;
    for (const state of this.#all()) this.#abort(state);
  }

  #abort(state: ConnState): void {
    this.aborted++;
    dispose(state.conn);
  }
}
