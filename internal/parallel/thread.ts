import { MAX_TIMEOUT } from "../check.ts";
import { NOTHING } from "../stats.ts";
import type { ListenerStats, ShutdownResult } from "../types.ts";
import { within } from "../util/within.ts";
import { childModule } from "./child.ts";
import { keepAlive } from "./keep_alive.ts";
import { mayBeHeld, onUnlock } from "./thread_lock.ts";
import {
  FROM,
  fromThrown,
  type ImportOrder,
  type Order,
  type Report,
  type SentOrder,
  type SentReport,
} from "./protocol.ts";

/** How long a worker may take until it listens, in ms. */
const START_TIMEOUT = 30_000;
/** How long to wait for an answer, in ms. A worker in an endless loop sends none. */
export const ANSWER_TIMEOUT = 1000;

/** The answer to an order. */
type Answer = Report & { report: "answer" };

/**
 * The state of a thread:
 *
 * - `"loading"`: its module is being evaluated, and it gets no orders;
 * - `"starting"`: it was ordered to listen;
 * - `"listening"`: it accepts connections;
 * - `"leaving"`: it serves its connections, and accepts no more;
 * - `"ended"`: it was terminated.
 */
export type ThreadState =
  | "loading"
  | "starting"
  | "listening"
  | "leaving"
  | "ended";

/** The worker that a thread belongs to. */
export interface ThreadOwner {
  /** The module of the program. */
  readonly module: string;
  /** The name of the thread in error messages of Deno. */
  readonly label: string;
  /** Called when the thread can get orders. Returns the order to listen. */
  orderToListen(): Order;
  /** Called when the thread stops accepting without an order to leave. */
  onLeft(): void;
  /** Called when the thread has failed. The owner must end it. */
  onFailed(error: Error, wasListening: boolean): void;
  /** Called when the thread has ended. */
  onEnded(): void;
}

/** A thread of a worker: sends it orders, gets its reports, and ends it. */
export class Thread {
  readonly #owner: ThreadOwner;
  readonly #worker: Worker;
  readonly #name: string; // also the name of its lock
  readonly #answers = new Map<number, (answer: Answer | undefined) => void>();
  readonly #listening = Promise.withResolvers<void>();
  readonly #left = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #watch: AbortController | undefined; // of its lock
  readonly #startTimer: ReturnType<typeof setTimeout>;
  #orders = 0;
  #isServing = false;
  #state: ThreadState = "loading";
  #isRefed = true; // by ref()
  #isKept = true; // whether it keeps the process alive, also for active connections
  /** Whether it did not answer in time to the order that ends it. */
  isSilent = false;
  /** Its counters, as last reported. */
  stats: ListenerStats = NOTHING;

  constructor(owner: ThreadOwner) {
    this.#owner = owner;
    this.#name = `${FROM} ${owner.label} ${crypto.randomUUID()}`;
    this.#worker = new Worker(childModule, {
      type: "module",
      name: this.#name,
    });
    this.#worker.onmessage = ({ data }) => {
      if (data?.from === FROM) this.#hear(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault(); // or this process would end
      this.#fail(event.error ?? new Error(event.message));
    };
    const order: ImportOrder = { order: "import", module: owner.module };
    this.#worker.postMessage(order);
    this.#startTimer = setTimeout(() => this.#failLate(), START_TIMEOUT);
    this.#listening.promise.catch(() => {}); // not every caller waits for it
  }

  get state(): ThreadState {
    return this.#state;
  }

  /** Resolves when it listens; rejects if it fails or ends before. */
  get listening(): Promise<void> {
    return this.#listening.promise;
  }

  /** Resolves when it accepts no more connections. */
  get left(): Promise<void> {
    return this.#left.promise;
  }

  /** Resolves when it has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Whether its code may still run, also after `end()`. */
  mayRun(): Promise<boolean> {
    return mayBeHeld(this.#name);
  }

  // Reports

  #hear(report: SentReport): void {
    if (this.#state === "ended") return;
    if (report.stats) this.stats = report.stats;
    this.#keepAlive();
    switch (report.report) {
      case "started":
        return this.#watchForEnd();
      case "serving":
        return void (this.#isServing = true);
      case "evaluated":
        return void this.#begin();
      case "answer":
        return this.#answers.get(report.id)?.(report);
      case "failed":
        return this.#fail(fromThrown(report.error));
      case "left":
        return this.#leave();
      case "finished":
        this.#leave(); // a detached listener reports no "left" before
        return this.end();
    }
  }

  async #begin(): Promise<void> {
    if (!this.#isServing) {
      return this.#fail(
        new Error(
          "Worker does not serve: its module was evaluated and has not called serveParallel()",
        ),
      );
    }
    this.#state = "starting";
    const answer = await this.tell(this.#owner.orderToListen(), Infinity);
    if (answer?.error) return this.#fail(fromThrown(answer.error));
    if (this.#state !== "starting") return; // it has ended, or was ordered to leave
    this.#state = "listening";
    clearTimeout(this.#startTimer);
    this.#listening.resolve();
    if (!this.#isRefed) this.#tellToReport();
    this.#keepAlive();
  }

  #watchForEnd(): void {
    this.#watch = new AbortController();
    onUnlock(this.#name, this.#watch.signal, () => this.#onSelfEnd());
  }

  /** Called when its lock is free: the program has ended the thread. */
  #onSelfEnd(): void {
    const was = this.#isServing || this.#state !== "loading"
      ? "Worker has ended"
      : "Worker has ended itself before it has called serveParallel()";
    this.#fail(new Error(was));
  }

  #failLate(): void {
    const seconds = START_TIMEOUT / 1000;
    const why = this.#state === "loading"
      ? ": its module is not evaluated, as a top-level await or a loop in it has not ended"
      : "";
    this.#fail(new Error(`Worker does not listen after ${seconds} s${why}`));
  }

  #fail(error: Error): void {
    if (this.#state === "loading" || this.#state === "starting") {
      this.#listening.reject(error);
    } else if (this.#state !== "ended") {
      const wasListening = this.#state === "listening";
      this.#state = "leaving"; // it has left the queue by itself
      this.#owner.onFailed(error, wasListening);
    }
  }

  #leave(): void {
    this.#left.resolve();
    if (this.#state !== "listening") return;
    this.#state = "leaving";
    this.#owner.onLeft();
  }

  // Orders

  /**
   * Sends an order.
   *
   * @param timeout How long to wait for the answer, in ms.
   * @returns The answer; undefined if it does not come in time, or the thread has ended.
   */
  tell(
    order: Order,
    timeout: number = ANSWER_TIMEOUT,
  ): Promise<Answer | undefined> {
    // A thread that is loading gets the state of then with its order to listen.
    if (this.#state === "loading" || this.#state === "ended") {
      return Promise.resolve(undefined);
    }
    const id = this.#orders++;
    const sent: SentOrder = { ...order, id };
    return new Promise((resolve) => {
      const timer = timeout > MAX_TIMEOUT
        ? undefined
        : setTimeout(() => this.#answers.get(id)?.(undefined), timeout);
      this.#answers.set(id, (answer) => {
        clearTimeout(timer);
        this.#answers.delete(id);
        resolve(answer);
      });
      this.#worker.postMessage(sent);
    });
  }

  /** Lets it keep the process alive: always, or only while it has connections. */
  ref(isRefed: boolean): void {
    if (this.#isRefed === isRefed) return;
    this.#isRefed = isRefed;
    this.#tellToReport();
    this.#keepAlive();
  }

  /** Without ref(), the thread must report when its first connection comes. */
  #tellToReport(): void {
    this.tell({ order: "watch", isWatched: !this.#isRefed });
  }

  #keepAlive(): void {
    const isIdle = this.#state === "listening" && this.stats.active === 0;
    const isKept = this.#isRefed || !isIdle;
    if (isKept === this.#isKept) return;
    this.#isKept = isKept;
    keepAlive(this.#worker, isKept);
    // Waiting for its lock keeps the process alive, too.
    if (isKept) this.#watchForEnd();
    else this.#watch?.abort();
  }

  /**
   * Lets it serve its connections to their end, and ends it.
   *
   * @returns The result; undefined if it has not answered in time.
   */
  async finish(
    order: "leave" | "shutdown",
    timeout: number,
  ): Promise<ShutdownResult | undefined> {
    if (this.#state === "listening" || this.#state === "starting") {
      this.#state = "leaving";
    }
    this.#keepAlive();
    const answer = await this.tell(
      { order, timeout },
      timeout + ANSWER_TIMEOUT,
    );
    // It reports "finished" when all such orders are answered.
    const isOver = answer !== undefined &&
      await within(ANSWER_TIMEOUT, this.ended);
    this.isSilent ||= !isOver && this.#state !== "ended";
    this.end();
    return answer?.result;
  }

  /** Ends it at once. Since Deno 2.7, this does not end a loop in it. */
  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#startTimer);
    this.#watch?.abort();
    this.#worker.terminate();
    this.#listening.reject(new Error("Worker has ended"));
    this.#left.resolve();
    for (const answer of [...this.#answers.values()]) answer(undefined);
    this.#ended.resolve();
    this.#owner.onEnded();
  }
}
