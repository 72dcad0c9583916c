import { dispose } from "./conns.ts";
import { isClosed } from "./failures.ts";
import { Queue } from "./queue.ts";
import { type Intake, Stage } from "./stage.ts";

/** How long a client may keep the stage waiting, in ms: what libevent asks Linux for. */
const MAX_WAIT = 30_000;

/** What the stage is told about connections, and tells about them. */
export interface Readiness<C extends Deno.Conn> {
  /**
   * Resolves when a connection is ready, with whether it is still there. Must not
   * reject. The stage closes one that is not there, or takes too long.
   */
  whenReady(conn: C): Promise<boolean>;
  /** Told that one has come in. */
  onEnter(): void;
  /** Told that one has gone, and never was ready. */
  onGone(): void;
}

/**
 * The stage in which connections wait until they are ready. Those that are ready
 * first are given first, and nobody waits for a slow one.
 */
export class Waiting<C extends Deno.Conn, A extends Deno.Addr>
  extends Stage<C, A> {
  readonly #readiness: Readiness<C>;
  /** With the timer that ends their wait. */
  readonly #unready = new Map<C, ReturnType<typeof setTimeout>>();
  readonly #ready = new Queue<C>();
  #asked: PromiseWithResolvers<C> | undefined; // by an accept() that is pending
  #accepting: Promise<C> | undefined; // the accept inside that is in flight
  #taking = false;
  #failure: { error: unknown } | undefined; // of an accept inside, not told yet
  #intake: Intake = "anybody";
  #refed = true;

  constructor(inner: Deno.Listener<C, A>, readiness: Readiness<C>) {
    super(inner);
    this.#readiness = readiness;
  }

  override get waiting(): number {
    return this.#unready.size + this.#ready.size + super.waiting;
  }

  override get isObedient(): boolean {
    return true;
  }

  override accept(): Promise<C> {
    this.#asked = Promise.withResolvers();
    const { promise } = this.#asked;
    this.#update();
    return promise;
  }

  override take(intake: Intake): void {
    this.#intake = intake;
    super.take(intake);
    this.#update();
  }

  /** Answers who has asked, or takes somebody in for them. */
  #update(): void {
    if (this.#asked === undefined || this.#intake === "nobody") return;
    const conn = this.#ready.shift();
    if (conn !== undefined) this.#asked.resolve(conn);
    else if (this.#failure === undefined) return void this.#take();
    // Who is inside still comes when nobody else does.
    else if (isClosed(this.#failure.error) && this.#unready.size > 0) return;
    else {
      this.#asked.reject(this.#failure.error);
      this.#failure = undefined;
    }
    this.#asked = undefined;
  }

  async #take(): Promise<void> {
    if (this.#taking) return;
    this.#taking = true;
    while (
      this.#asked !== undefined && this.#intake === "anybody" &&
      this.#failure === undefined
    ) {
      try {
        const conn = await (this.#accepting = this.inner.accept());
        if (this.#accepting === undefined) return; // it was given back
        this.#enter(conn);
      } catch (error) {
        this.#failure = { error };
      }
      this.#accepting = undefined;
    }
    this.#taking = false;
    if (this.#failure !== undefined) this.#update();
  }

  async #enter(conn: C): Promise<void> {
    const ready = this.#readiness.whenReady(conn);
    const timer = setTimeout(() => dispose(conn), MAX_WAIT);
    Deno.unrefTimer(timer);
    this.#unready.set(conn, timer);
    if (!this.#refed) conn.unref();
    this.#readiness.onEnter();
    const isThere = await ready;
    clearTimeout(timer);
    if (!this.#unready.delete(conn)) return; // it was given back
    conn.ref();
    if (isThere) {
      this.#ready.push(conn);
    } else {
      dispose(conn);
      this.#readiness.onGone();
    }
    this.#update();
  }

  override giveBack(pending?: Promise<C>): (C | Promise<C>)[] {
    const given = this.#asked === undefined && pending ? [pending] : [];
    const waiting = [...this.#unready.keys()];
    for (const [conn, timer] of this.#unready) {
      clearTimeout(timer);
      conn.unref();
    }
    this.#unready.clear();
    const accepting = this.#accepting;
    this.#accepting = undefined;
    const back = [...given, ...this.#ready.takeAll(), ...waiting];
    return [...back, ...super.giveBack(accepting)];
  }

  override ref(): void {
    this.#refed = true;
    super.ref();
    for (const conn of this.#unready.keys()) conn.ref();
  }

  override unref(): void {
    this.#refed = false;
    super.unref();
    for (const conn of this.#unready.keys()) conn.unref();
  }
}
