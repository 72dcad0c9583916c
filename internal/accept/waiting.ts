import { isClosed } from "../util/failures.ts";
import { Queue } from "../util/queue.ts";
import { type Intake, type Outcome, Stage } from "./stage.ts";
import { Sweep } from "../util/sweep.ts";

/**
 * One thing to wait for, or to look at. Must not throw; what rejects says that the
 * client has gone. After an await, it must leave a connection alone that is not here any
 * more.
 */
export type Step<C extends Deno.Conn> = (
  conn: C,
  isHere: (conn: Deno.Conn) => boolean,
) => Outcome | Promise<Outcome>;

/** What the stage tells of connections. */
export interface Host<C extends Deno.Conn> {
  /** Told that one has come in. */
  onEnter(): unknown;
  /** Told that one is not to be delivered, and has to be closed. */
  turnAway(conn: C, why: Exclude<Outcome, true>): void;
}

/**
 * The stage in which connections wait until they are ready. Those that are ready
 * first are given first, and nobody waits for a slow one.
 */
export class Waiting<C extends Deno.Conn, A extends Deno.Addr>
  extends Stage<C, A> {
  readonly #steps: readonly Step<C>[];
  readonly #host: Host<C>;
  readonly #unready: Sweep<C>;
  readonly #ready = new Queue<C>();
  #asked: PromiseWithResolvers<C> | undefined; // by an accept() that is pending
  #accepting: Promise<C> | undefined; // the accept inside that is in flight
  #taking = false;
  #failure: { error: unknown } | undefined; // of an accept inside, not told yet
  #intake: Intake = "anybody";
  #refed = true;
  readonly #isHere = (conn: Deno.Conn) => this.#unready.has(conn as C);

  /**
   * @param steps What makes a connection ready, one after the other.
   * @param timeout How long that may take, in ms.
   */
  constructor(
    inner: Deno.Listener<C, A>,
    steps: readonly Step<C>[],
    timeout: number,
    host: Host<C>,
  ) {
    super(inner);
    this.#steps = steps;
    this.#host = host;
    const tooLate = (conn: C) => this.#pass(conn, false);
    this.#unready = new Sweep<C>(timeout, tooLate);
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

  #enter(conn: C): void {
    this.#unready.watch(conn);
    if (!this.#refed) conn.unref();
    this.#host.onEnter();
    this.#prepare(conn, 0);
  }

  /** Takes the steps from one on, without a promise more than they have. */
  #prepare(conn: C, step: number): void {
    for (let i = step; i < this.#steps.length; i++) {
      const outcome = this.#steps[i]!(conn, this.#isHere);
      if (outcome === true) continue;
      if (!(outcome instanceof Promise)) return this.#leave(conn, outcome);
      return void outcome.then((outcome) => {
        if (outcome === true) this.#prepare(conn, i + 1);
        else this.#leave(conn, outcome);
      }, () => this.#leave(conn, false));
    }
    this.#leave(conn, true);
  }

  #leave(conn: C, outcome: Outcome): void {
    // It was given back, or too late.
    if (this.#unready.forget(conn)) this.#pass(conn, outcome);
  }

  #pass(conn: C, outcome: Outcome): void {
    if (!this.#refed) conn.ref();
    if (outcome === true) this.#ready.push(conn);
    else this.#host.turnAway(conn, outcome);
    this.#update();
  }

  override giveBack(pending?: Promise<C>): (C | Promise<C>)[] {
    const given = this.#asked === undefined && pending ? [pending] : [];
    const waiting = [...this.#unready];
    for (const conn of waiting) {
      this.#unready.forget(conn);
      conn.unref();
    }
    this.#unready.end();
    const accepting = this.#accepting;
    this.#accepting = undefined;
    const back = [...given, ...this.#ready.takeAll(), ...waiting];
    return [...back, ...super.giveBack(accepting)];
  }

  override ref(): void {
    this.#refed = true;
    super.ref();
    for (const conn of this.#unready) conn.ref();
  }

  override unref(): void {
    this.#refed = false;
    super.unref();
    for (const conn of this.#unready) conn.unref();
  }
}
