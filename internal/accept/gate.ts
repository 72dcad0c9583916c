import { type Intake, never, type Outcome, Stage } from "./stage.ts";

/** The stage that looks at each connection once, and may turn it away. */
export class Gate<C extends Deno.Conn, A extends Deno.Addr>
  extends Stage<C, A> {
  readonly #look: (conn: C) => Outcome;
  readonly #turnAway: (conn: C, why: Exclude<Outcome, true>) => void;
  #intake: Intake = "anybody";
  #reopen: (() => void) | undefined; // set while an accept() waits to be let on
  #accepting: Promise<C> | undefined; // the accept inside that is in flight
  #ended = false;

  /**
   * @param look Asked about each connection. Only with `true` it passes.
   * @param turnAway Told of the others, which it has to close.
   */
  constructor(
    inner: Deno.Listener<C, A>,
    look: (conn: C) => Outcome,
    turnAway: (conn: C, why: Exclude<Outcome, true>) => void,
  ) {
    super(inner);
    this.#look = look;
    this.#turnAway = turnAway;
  }

  override async accept(): Promise<C> {
    for (;;) {
      let conn: C;
      try {
        conn = await (this.#accepting = this.inner.accept());
      } finally {
        this.#accepting = undefined;
      }
      if (this.#ended) return never(); // it was given back
      const outcome = this.#look(conn);
      if (outcome === true) return conn;
      this.#turnAway(conn, outcome);
      // The look has ended the listener: there is nobody to give the next to.
      if (this.#ended) throw new Deno.errors.BadResource("Gate is closed");
      // Nobody else is to be turned away while nobody is to be taken.
      if (this.#intake !== "anybody") {
        await new Promise<void>((resolve) => this.#reopen = resolve);
      }
    }
  }
  override take(intake: Intake): void {
    this.#intake = intake;
    super.take(intake);
    if (intake !== "anybody") return;
    this.#reopen?.();
    this.#reopen = undefined;
  }

  override giveBack(pending?: Promise<C>): (C | Promise<C>)[] {
    this.#ended = true;
    if (this.#accepting !== undefined) return super.giveBack(this.#accepting);
    const isGiven = this.#reopen === undefined;
    return [
      ...(isGiven && pending !== undefined ? [pending] : []),
      ...super.giveBack(),
    ];
  }
}
