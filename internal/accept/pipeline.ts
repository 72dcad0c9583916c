import type { ConnState } from "../conn/conn_state.ts";
import { isReadAhead, keepInBackground } from "../conn/front.ts";
import type { RejectReason } from "../types.ts";
import { NONE, Sweep } from "../util/sweep.ts";

/** Why a connection is not delivered; false: the client has gone, or took too long. */
export type Refusal = false | RejectReason;

/**
 * One thing to look at, or to wait for, before a connection is delivered. It says how it
 * is now: true, why the connection is refused, or undefined for "not yet". Then it sees
 * to it that `state.onCome` is called, and is asked again. Must not throw.
 */
export type Check = (state: ConnState) => true | Refusal | undefined;

/** What the pipeline works for. */
export interface PipelineOwner {
  /** Gets a connection that has passed all checks. */
  onReady(state: ConnState): void;
  /** Gets a connection that has not. */
  onRefused(state: ConnState, why: Refusal): void;
  /** Told that a connection has begun to wait. */
  onWaiting(): void;
}

/**
 * The checks that a connection passes, one after the other, before it is delivered.
 * Nobody waits for a slow client: the connections that are ready first go first.
 */
export class Pipeline {
  readonly #checks: readonly Check[];
  readonly #owner: PipelineOwner;
  readonly #waiting: Sweep<ConnState>;
  /** The one that is being asked. A hook may end the listener meanwhile. */
  #asked: ConnState | undefined;
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

  /** How many are in it. */
  get size(): number {
    const isNew = this.#asked !== undefined && this.#asked.place === NONE;
    return this.#waiting.size + (isNew ? 1 : 0);
  }

  /** Whether a connection is being asked about. */
  get isAsking(): boolean {
    return this.#asked !== undefined;
  }

  /** Those that wait, without one that is being asked about. */
  get states(): ConnState[] {
    return this.#waiting.items.filter((state) => state !== this.#asked);
  }

  /** Takes a connection in. */
  enter(state: ConnState): void {
    state.step = 0;
    this.#ask(state);
  }

  readonly #ask = (state: ConnState): void => {
    this.#asked = state;
    for (; state.step < this.#checks.length; state.step++) {
      const outcome = this.#checks[state.step]!(state);
      if (outcome === undefined && !this.#hasEnded) return this.#wait(state);
      if (outcome !== true && outcome !== undefined) {
        return this.#leave(state, outcome);
      }
      if (this.#hasEnded) break; // by a hook: the others are not ours to ask
    }
    this.#leave(state, true);
  };

  #wait(state: ConnState): void {
    this.#asked = undefined;
    keepInBackground(state, !this.#isAlive);
    if (state.place !== NONE) return; // it has waited before
    state.onCome = this.#ask;
    this.#waiting.watch(state);
    this.#owner.onWaiting();
  }

  #leave(state: ConnState, outcome: true | Refusal): void {
    this.#asked = undefined;
    if (state.place !== NONE) this.#waiting.remove(state);
    state.onCome = undefined;
    // A read that is still pending was begun by a listener that had it before.
    keepInBackground(state, outcome === true && isReadAhead(state));
    if (outcome === true) this.#owner.onReady(state);
    else this.#owner.onRefused(state, outcome);
  }

  /** Says whether those that wait keep the process alive. */
  keepAlive(isAlive: boolean): void {
    this.#isAlive = isAlive;
    for (const state of this.#waiting.items) keepInBackground(state, !isAlive);
  }

  /** Ends it, and gives those that wait. One that is being asked leaves by its answer. */
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
