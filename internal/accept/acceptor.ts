import { isClosed, isPeerGoneBeforeAccept } from "../util/failures.ts";
import type { Intake, Stage } from "./stage.ts";

/** The first wait after a failed accept, in ms: long enough not to spin. */
const MIN_BACKOFF = 5;
/** The longest, in ms: how late it may be noticed that descriptors are back. */
const MAX_BACKOFF = 1000;
/**
 * After how many vanished clients in a row there is a wait of MIN_BACKOFF. Without
 * it, a socket on which every accept fails would starve the event loop.
 */
const MAX_GONE_IN_A_ROW = 256;

/** The holds that end by themselves. Who is accepted already need not wait for that. */
const PASSING: ReadonlySet<string> = new Set(["full", "backoff"]);

/** Whom the acceptor works for. */
export interface Owner<C extends Deno.Conn> {
  /** Whether somebody wants a connection. `update()` is to be called when it changes. */
  hasDemand(): boolean;
  /** Gets a connection. Must not throw. */
  take(conn: C): void;
  /** Told that a client was gone before it was accepted. */
  onGone(): void;
  /** Told of another failure, during the hold "backoff", and whether the last accept had succeeded. */
  onFailure(error: unknown, isFirst: boolean): void;
  /** Told that the socket is closed. */
  onClosed(): void;
}

/**
 * Accepts connections one at a time, and only while somebody wants one.
 *
 * Two ideas carry it. *Demand*: an accept is in flight only while the owner wants
 * a connection. *Holds*: independent reasons not to accept now; accepting goes on
 * when none is left. *Parking* follows from them: Deno cannot cancel an accept
 * without closing the socket, so the one connection that it brings when nobody wants
 * it any more is kept, and given first when accepting goes on.
 */
export class Acceptor<C extends Deno.Conn, A extends Deno.Addr = Deno.Addr> {
  readonly #stage: Stage<C, A>;
  readonly #owner: Owner<C>;
  readonly #holds = new Set<string>(); // in the order in which they began
  #accepting: Promise<C> | undefined; // in flight
  #parked: C | undefined;
  #running = false;
  #stopped = false;
  #refed: boolean; // by ref() and unref()
  #intake: Intake = "anybody"; // what the stage was last told: whom to take,
  #alive: boolean | undefined; // and whether to keep the process alive
  #failing = false; // since the last success
  #wait = MIN_BACKOFF; // after the next failure
  #waiting: ReturnType<typeof setTimeout> | undefined; // during the hold "backoff"
  #goneInARow = 0;
  #changed = Promise.withResolvers<void>();

  constructor(stage: Stage<C, A>, owner: Owner<C>, refed = true) {
    this.#stage = stage;
    this.#owner = owner;
    this.#refed = refed;
  }

  /** Why nobody is accepted now. */
  get holds(): string[] {
    return [...this.#holds];
  }

  get isHeld(): boolean {
    return this.#holds.size > 0;
  }

  hold(reason: string): void {
    if (this.#stopped) return;
    this.#holds.add(reason);
    this.update();
  }

  release(reason: string): void {
    this.#holds.delete(reason);
    this.update();
  }

  /** How many are parked: one at most. */
  get parked(): number {
    return this.#parked === undefined ? 0 : 1;
  }

  /** Whom the holds and the demand let in. */
  get intake(): Intake {
    if (this.#stopped || !this.#owner.hasDemand()) return "nobody";
    if (this.#holds.size === 0) return "anybody";
    const isPassing = this.#holds.isSubsetOf(PASSING);
    return isPassing ? "those inside" : "nobody";
  }

  get #wanted(): boolean {
    const { intake } = this;
    return intake === "anybody" ||
      intake === "those inside" && this.#stage.isObedient;
  }

  /** Must be called after every change of demand or holds. */
  update(): void {
    const { intake } = this;
    if (intake !== this.#intake) this.#stage.take(this.#intake = intake);
    const alive = this.#refed && intake !== "nobody";
    if (alive !== this.#alive) this.#keepAlive(this.#alive = alive);
    this.#changed.resolve();
    if (this.#wanted && !this.#running) this.#run();
  }

  /** Resolves at the next update. */
  changed(): Promise<void> {
    this.#changed = Promise.withResolvers();
    return this.#changed.promise;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#wanted) {
      let conn: C;
      try {
        // The one await per connection. A parked one is there already.
        conn = await (this.#parked ?? (this.#accepting = this.#stage.accept()));
      } catch (error) {
        this.#accepting = undefined;
        this.#failed(error);
        continue;
      }
      if (this.#stopped) break; // stop() has it
      this.#accepting = undefined;
      this.#goneInARow = 0;
      this.#failing = false;
      this.#wait = MIN_BACKOFF;
      // Whatever has happened during the await is looked at here, and only here.
      this.#parked = this.#wanted ? undefined : conn;
      if (this.#parked === undefined) this.#owner.take(conn);
    }
    this.#running = false;
  }

  #failed(error: unknown): void {
    if (this.#stopped) return;
    if (isClosed(error)) {
      this.#owner.onClosed();
    } else if (isPeerGoneBeforeAccept(error)) {
      this.#owner.onGone();
      if (++this.#goneInARow % MAX_GONE_IN_A_ROW === 0) {
        this.#backOff(MIN_BACKOFF);
      }
    } else {
      const isFirst = !this.#failing;
      this.#failing = true;
      this.#backOff(this.#wait);
      this.#wait = Math.min(this.#wait * 2, MAX_BACKOFF);
      this.#owner.onFailure(error, isFirst);
    }
  }

  #backOff(wait: number): void {
    this.#waiting = setTimeout(() => this.release("backoff"), wait);
    if (!this.#alive) Deno.unrefTimer(this.#waiting);
    this.hold("backoff");
  }

  /** Tries at once, if it waits after a failure. */
  retry(): void {
    clearTimeout(this.#waiting);
    this.#wait = MIN_BACKOFF;
    this.release("backoff");
  }

  #keepAlive(alive: boolean): void {
    if (alive) this.#stage.ref();
    else this.#stage.unref();
    if (this.#waiting === undefined) return;
    if (alive) Deno.refTimer(this.#waiting);
    else Deno.unrefTimer(this.#waiting);
  }

  /** Whether the owner wants the process to be kept alive while it has demand. */
  get refed(): boolean {
    return this.#refed;
  }

  set refed(refed: boolean) {
    this.#refed = refed;
    this.update();
  }

  /** Ends accepting, for ever. Gives back what is accepted and not taken. */
  stop(): (C | Promise<C>)[] {
    this.#stopped = true;
    this.#holds.clear();
    this.retry();
    const parked = this.#parked;
    this.#parked = undefined;
    return [
      ...(parked === undefined ? [] : [parked]),
      ...this.#stage.giveBack(this.#accepting),
    ];
  }
}
