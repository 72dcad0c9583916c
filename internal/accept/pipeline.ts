import type { ConnState } from "../conn/conn_state.ts";
import { isReadAhead, keepInBackground } from "../conn/front.ts";
import type { RejectReason } from "../types.ts";
import { NONE, Sweep } from "../util/sweep.ts";

/** Why a connection is not delivered. With false, the client has gone, or took too long. */
export type Refusal = false | RejectReason;

/**
 * A condition that a connection must meet before it is delivered. Returns true if it is
 * met, or why the connection is refused, or undefined if the client must send something
 * first. After undefined, `state.onCome` is called, which runs the check again. Must not
 * throw.
 */
export type Check = (state: ConnState) => true | Refusal | undefined;

/** The acceptor, as the pipeline needs it. */
export interface PipelineOwner {
  /** Called with a connection that has passed all checks. */
  onReady(state: ConnState): void;
  /** Called with a connection that has failed a check. */
  onRefused(state: ConnState, why: Refusal): void;
  /** Called when a connection begins to wait for its client. */
  onWaiting(): void;
}

/**
 * The checks that a connection passes, one after the other, before it is delivered.
 * A slow client does not delay the others: connections leave in the order in which they
 * are ready.
 */
export class Pipeline {
  readonly #checks: readonly Check[];
  readonly #owner: PipelineOwner;
  readonly #waiting: Sweep<ConnState>;
  /** The connection that is being checked. A hook may end the listener meanwhile. */
  #checked: ConnState | undefined;
  #isAlive = true;
  #hasEnded = false;

  /** @param timeout How long a connection may wait, in ms. */
  constructor(
    checks: readonly Check[],
    timeout: number,
    owner: PipelineOwner,
  ) {
    this.#checks = checks;
    this.#owner = owner;
    this.#waiting = new Sweep(timeout, (state) => this.#leave(state, false));
  }

  /** How many connections are in it. */
  get size(): number {
    const isNew = this.#checked !== undefined && this.#checked.place === NONE;
    return this.#waiting.size + (isNew ? 1 : 0);
  }

  /** Whether a check is running now. */
  get isChecking(): boolean {
    return this.#checked !== undefined;
  }

  /** The waiting connections, without the one that is being checked. */
  get states(): ConnState[] {
    return this.#waiting.items.filter((state) => state !== this.#checked);
  }

  /** Begins the checks of a connection. */
  enter(state: ConnState): void {
    state.step = 0;
    this.#check(state);
  }

  readonly #check = (state: ConnState): void => {
    this.#checked = state;
    for (; state.step < this.#checks.length; state.step++) {
      const outcome = this.#checks[state.step]!(state);
      if (outcome === undefined && !this.#hasEnded) return this.#wait(state);
      if (outcome !== true && outcome !== undefined) {
        return this.#leave(state, outcome);
      }
      if (this.#hasEnded) break; // by a hook: the next listener has checks of its own
    }
    this.#leave(state, true);
  };

  #wait(state: ConnState): void {
    this.#checked = undefined;
    keepInBackground(state, !this.#isAlive);
    if (state.place !== NONE) return; // it has waited before
    state.onCome = this.#check;
    this.#waiting.watch(state);
    this.#owner.onWaiting();
  }

  #leave(state: ConnState, outcome: true | Refusal): void {
    this.#checked = undefined;
    if (state.place !== NONE) this.#waiting.remove(state);
    state.onCome = undefined;
    // A read that is still pending was begun by the listener before this one.
    keepInBackground(state, outcome === true && isReadAhead(state));
    if (outcome === true) this.#owner.onReady(state);
    else this.#owner.onRefused(state, outcome);
  }

  /** Sets whether waiting connections keep the process alive. */
  keepAlive(isAlive: boolean): void {
    this.#isAlive = isAlive;
    for (const state of this.#waiting.items) keepInBackground(state, !isAlive);
  }

  /**
   * Ends the checks, and returns the waiting connections. A connection that is being
   * checked leaves by the result.
   */
  end(): ConnState[] {
    this.#hasEnded = true;
    this.#waiting.end();
    const left = this.states;
    for (const state of left) {
      this.#waiting.remove(state);
      state.onCome = undefined;
    }
    return left;
  }
}
