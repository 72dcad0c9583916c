import { NOTHING } from "../stats.ts";
import type { ListenerStats, ShutdownResult } from "../types.ts";
import { within } from "../util/within.ts";
import { childModule } from "./child.ts";
import { keepAlive } from "./keep_alive.ts";
import { mayLive, onDeath } from "./life_lock.ts";
import {
  FROM,
  fromThrown,
  type Import,
  type Order,
  type Report,
  type Sent,
  type SentReport,
} from "./protocol.ts";

/** How long a worker may take until it listens, in ms. */
const MAX_START = 30_000;
/** How long to wait for an answer, in ms: the worker may be in a loop that does not end. */
export const PATIENCE = 1000;
/** The longest wait that a timer takes, in ms. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** What an order was answered with. */
type Answer = Report & { report: "answer" };

/**
 * Where a thread is in its life:
 *
 * - `"loading"`: its module is being evaluated, and it can be told nothing;
 * - `"starting"`: it was told to listen;
 * - `"listening"`: it accepts connections;
 * - `"leaving"`: it serves its connections to the end, and accepts no more;
 * - `"ended"`.
 */
export type ThreadState =
  | "loading"
  | "starting"
  | "listening"
  | "leaving"
  | "ended";

/** What started a thread. */
export interface Owner {
  /** The module of the program. */
  readonly module: string;
  /** What Deno calls the thread where it prints errors. */
  readonly label: string;
  /** How to listen, at the moment when the thread can be told. */
  orderToListen(): Order;
  /** Called when it accepts no more connections although it was not told to leave. */
  onLeft(): void;
  /** Called when it has failed, and whether it was listening until then. It is to be ended. */
  onFailed(error: Error, wasListening: boolean): void;
  /** Called when it has ended. */
  onEnded(): void;
}

/** A thread that serves: the orders to it, its reports, and its end. */
export class Thread {
  readonly #owner: Owner;
  readonly #worker: Worker;
  readonly #name: string; // also of the lock that it holds
  readonly #answers = new Map<number, (answer: Answer | undefined) => void>();
  readonly #listening = Promise.withResolvers<void>();
  readonly #left = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #watch: AbortController | undefined; // for its death
  readonly #startTimer: ReturnType<typeof setTimeout>;
  #orders = 0;
  #isServing = false;
  #state: ThreadState = "loading";
  #isRefed = true; // as it was told
  #isKept = true; // as it is: also for its connections
  /** Whether it did not answer in time when it was to end. */
  isSilent = false;
  /** What it has counted, as last reported. */
  stats: ListenerStats = NOTHING;

  constructor(owner: Owner) {
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
    const order: Import = { order: "import", module: owner.module };
    this.#worker.postMessage(order);
    this.#startTimer = setTimeout(() => this.#failLate(), MAX_START);
    this.#listening.promise.catch(() => {}); // nobody may wait for it
  }

  get state(): ThreadState {
    return this.#state;
  }

  /** Resolves when it listens; rejects when it fails, or ends, before. */
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

  /** Whether it may run still, also after its end. */
  mayRun(): Promise<boolean> {
    return mayLive(this.#name);
  }

  // Reports

  #hear(report: SentReport): void {
    if (this.#state === "ended") return;
    if (report.stats) this.stats = report.stats;
    this.#keepAlive();
    switch (report.report) {
      case "started":
        return this.#watchForDeath();
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
        this.#leave(); // a listener that was detached does not say so before
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
    if (this.#state !== "starting") return; // it has ended, or was told to leave
    this.#state = "listening";
    clearTimeout(this.#startTimer);
    this.#listening.resolve();
    if (!this.#isRefed) this.#tellToReport();
    this.#keepAlive();
  }

  #watchForDeath(): void {
    this.#watch = new AbortController();
    onDeath(this.#name, this.#watch.signal, () => this.#die());
  }

  /** Its lock is free: it has ended by itself. */
  #die(): void {
    const was = this.#isServing || this.#state !== "loading"
      ? "Worker has ended"
      : "Worker has ended itself before it has called serveParallel()";
    this.#fail(new Error(was));
  }

  #failLate(): void {
    const seconds = MAX_START / 1000;
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
   * Gives an order.
   *
   * @param patience How long to wait for the answer, in ms.
   * @returns The answer; undefined if there is none in time, or the thread has ended.
   */
  tell(order: Order, patience: number = PATIENCE): Promise<Answer | undefined> {
    // One that is loading will be told how things are then.
    if (this.#state === "loading" || this.#state === "ended") {
      return Promise.resolve(undefined);
    }
    const id = this.#orders++;
    const sent: Sent = { ...order, id };
    return new Promise((resolve) => {
      const timer = patience > MAX_TIMEOUT
        ? undefined
        : setTimeout(() => this.#answers.get(id)?.(undefined), patience);
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

  /** While it is not ref'd, it has to say when its first connection comes. */
  #tellToReport(): void {
    this.tell({ order: "watch", isWatched: !this.#isRefed });
  }

  #keepAlive(): void {
    const isIdle = this.#state === "listening" && this.stats.active === 0;
    const isKept = this.#isRefed || !isIdle;
    if (isKept === this.#isKept) return;
    this.#isKept = isKept;
    keepAlive(this.#worker, isKept);
    // To wait for its lock would keep the process alive, too.
    if (isKept) this.#watchForDeath();
    else this.#watch?.abort();
  }

  /**
   * Lets it serve its connections to their end. It has ended then.
   *
   * @returns How that went; undefined if it has not answered in time.
   */
  async finish(
    order: "leave" | "shutdown",
    timeout: number,
  ): Promise<ShutdownResult | undefined> {
    if (this.#state === "listening" || this.#state === "starting") {
      this.#state = "leaving";
    }
    this.#keepAlive();
    const answer = await this.tell({ order, timeout }, timeout + PATIENCE);
    // It says by itself that it has finished, once all such orders are answered.
    const isOver = answer !== undefined && await within(PATIENCE, this.ended);
    this.isSilent ||= !isOver && this.#state !== "ended";
    this.end();
    return answer?.result;
  }

  /** Ends it at once. A loop in it may go on: since Deno 2.7 nothing ends that. */
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
