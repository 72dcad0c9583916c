import type { ListenerStats, ShutdownResult } from "../types.ts";
import { onDeath } from "./life_lock.ts";
import {
  FROM,
  fromThrown,
  NOTHING,
  type Order,
  type Report,
  type Sent,
} from "./protocol.ts";

/** How long a worker may take until it listens, in ms. */
const MAX_START = 30_000;
/** How long an order is waited for, in ms, as the worker may be in a loop that does not end. */
export const PATIENCE = 1000;
/** The longest wait that a timer takes, in ms. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** What an order was answered with. */
type Answer = Report & { report: "answer" };

/** Who has started a thread. */
export interface Owner {
  /** What it runs. */
  readonly module: string | URL;
  /** What Deno calls it where it prints errors. */
  readonly label: string;
  /** What it is told when it is loaded: how to listen. */
  orderToListen(): Order;
  /** Told that it takes nobody any more, whether it was to or not. */
  onLeft(): void;
  /** Told that it has failed, if it had listened before. It is to be ended. */
  onFailed(error: Error): void;
  /** Told that it has ended. */
  onEnded(): void;
}

/** A thread that serves: what is said to it, what it says, and its end. */
export class Thread {
  readonly #owner: Owner;
  readonly #worker: Worker;
  readonly #name: string; // also of the lock that it holds
  readonly #answers = new Map<number, (answer: Answer | undefined) => void>();
  readonly #listening = Promise.withResolvers<void>();
  readonly #left = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #end = new AbortController();
  #orders = 0;
  #isLoaded = false;
  #isListening = false;
  #result: ShutdownResult | undefined;
  /** Whether it has not answered in time when it was to end. */
  isSilent = false;
  /** What it has counted, by its last word. */
  stats: ListenerStats = NOTHING;

  constructor(owner: Owner) {
    this.#owner = owner;
    this.#name = `${owner.label} ${crypto.randomUUID()}`;
    this.#worker = new Worker(owner.module, {
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
    const timer = setTimeout(() => {
      const seconds = MAX_START / 1000;
      this.#fail(new Error(`Worker does not listen after ${seconds} s`));
    }, MAX_START);
    const started = () => clearTimeout(timer);
    this.#listening.promise.then(started, started);
  }

  /** Whether it has ended. */
  get hasEnded(): boolean {
    return this.#end.signal.aborted;
  }

  /** Whether it can be told anything. */
  get isLoaded(): boolean {
    return this.#isLoaded && !this.hasEnded;
  }

  /** Resolves when it listens; rejects when it fails, or ends, before. */
  get listening(): Promise<void> {
    return this.#listening.promise;
  }

  /** Resolves when it takes nobody any more. */
  get left(): Promise<void> {
    return this.#left.promise;
  }

  /** Resolves when it has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  #hear(report: Report): void {
    if (this.hasEnded) return;
    this.stats = report.stats;
    switch (report.report) {
      case "loaded":
        return void this.#begin();
      case "answer":
        this.#result ??= report.result;
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

  #leave(): void {
    this.#left.resolve();
    this.#owner.onLeft();
  }

  async #begin(): Promise<void> {
    this.#isLoaded = true;
    const gone = () => this.#fail(new Error("Worker has ended"));
    onDeath(this.#name, this.#end.signal, gone);
    const answer = await this.tell(this.#owner.orderToListen(), Infinity);
    if (answer?.error) return this.#fail(fromThrown(answer.error));
    this.#isListening = answer !== undefined;
    this.#listening.resolve(); // unless it has failed
  }

  #fail(error: Error): void {
    if (this.#isListening) this.#owner.onFailed(error);
    else this.#listening.reject(error);
  }

  /**
   * Gives an order.
   *
   * @param patience How long to wait for the answer, in ms.
   * @returns The answer; undefined if there is none in time, or the thread has ended.
   */
  tell(order: Order, patience: number = PATIENCE): Promise<Answer | undefined> {
    // One that is not there yet will be told how things are then.
    if (!this.isLoaded) return Promise.resolve(undefined);
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

  /**
   * Lets it serve its connections to their end, and ends it.
   *
   * @returns How that went; undefined if it has not answered in time.
   */
  async finish(
    order: "leave" | "shutdown",
    timeout: number,
  ): Promise<ShutdownResult | undefined> {
    const answer = await this.tell({ order, timeout }, timeout + PATIENCE);
    this.isSilent ||= this.isLoaded && !answer;
    this.end();
    return this.#result; // which may be the answer to another such order
  }

  /** Ends it at once. A loop in it goes on: nothing ends that. */
  end(): void {
    if (this.hasEnded) return;
    this.#end.abort();
    this.#worker.terminate();
    this.#listening.reject(new Error("Worker has ended"));
    this.#listening.promise.catch(() => {}); // nobody may wait for that
    this.#left.resolve();
    for (const answer of [...this.#answers.values()]) answer(undefined);
    this.#ended.resolve();
    this.#owner.onEnded();
  }
}
