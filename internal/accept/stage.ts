/**
 * A stage is a `Deno.Listener` around a `Deno.Listener`: its `accept()` resolves
 * with a connection that is ready for the next stage.
 */
import { isClosed } from "../util/failures.ts";
import type { RejectReason } from "../types.ts";

/**
 * Whom a stage is to take and give: anybody; nobody new, only those who are in it
 * already; or nobody at all.
 */
export type Intake = "anybody" | "those inside" | "nobody";

/**
 * What a look at a connection says: it may pass, it has gone, or why it is turned
 * away.
 */
export type Outcome = boolean | RejectReason;

/**
 * What can be asked of a listener beyond `Deno.Listener`, and need not be there: a
 * plain `Deno.Listener` is a stage that holds nobody.
 */
interface Inner<C extends Deno.Conn, A extends Deno.Addr>
  extends Deno.Listener<C, A> {
  readonly waiting?: number;
  readonly isObedient?: boolean;
  take?(intake: Intake): void;
  giveBack?(pending?: Promise<C>): (C | Promise<C>)[];
}

/** A stage that adds nothing yet: everything is as in the listener inside. */
export class Stage<
  C extends Deno.Conn = Deno.Conn,
  A extends Deno.Addr = Deno.Addr,
> implements Deno.Listener<C, A> {
  protected readonly inner: Inner<C, A>;

  constructor(inner: Deno.Listener<C, A>) {
    this.inner = inner;
  }

  get addr(): A {
    return this.inner.addr;
  }

  accept(): Promise<C> {
    return this.inner.accept();
  }

  /** How many connections it has taken and not given yet. */
  get waiting(): number {
    return this.inner.waiting ?? 0;
  }

  /**
   * Whether it gives nobody but whom it is told to. A plain `Deno.Listener` gives
   * whoever comes.
   */
  get isObedient(): boolean {
    return this.inner.isObedient ?? false;
  }

  /** Says whom to take and give from now on. Until it is told, that is anybody. */
  take(intake: Intake): void {
    this.inner.take?.(intake);
  }

  /**
   * Ends the stage, and gives back whom it has taken and not given: connections,
   * and promises of those that are on their way, which may reject.
   *
   * @param pending What its last `accept()` has returned, if that has not settled.
   */
  giveBack(pending?: Promise<C>): (C | Promise<C>)[] {
    if (this.inner.giveBack) return this.inner.giveBack(pending);
    return pending === undefined ? [] : [pending];
  }

  close(): void {
    this.inner.close();
  }

  /** Lets everything that it waits for keep the process alive. */
  ref(): void {
    this.inner.ref();
  }

  /** Lets nothing that it waits for keep the process alive. */
  unref(): void {
    this.inner.unref();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<C> {
    return {
      next: async () => {
        try {
          return { value: await this.accept(), done: false };
        } catch (error) {
          if (isClosed(error)) return { value: undefined, done: true };
          throw error;
        }
      },
      return: (value) => {
        this.close();
        return Promise.resolve({ value, done: true });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  [Symbol.dispose](): void {
    try {
      this.close();
    } catch (error) {
      if (!isClosed(error)) throw error;
    }
  }
}

/** What an accept() gives whose connections go to somebody else by now. */
export function never(): Promise<never> {
  return new Promise(() => {});
}
