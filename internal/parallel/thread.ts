import { onDeath } from "./life_lock.ts";
import {
  fromThrown,
  NOTHING,
  type Order,
  type Report,
  type Sent,
} from "./protocol.ts";
import type { ListenerStats, ShutdownResult } from "../types.ts";

/** How long a worker may take until it listens, in ms. */
const MAX_START = 30_000;
/** How long an order is waited for, in ms, as the worker may be in a loop that does not end. */
export const PATIENCE = 1000;

/** What an order was answered with. */
type Answer = Report & { report: "answer" };

/**
 * A thread that serves: what is said to it, what it says, and its end.
 */
export class Thread {
  readonly #worker: Worker;
  readonly #name: string;
  readonly #start: () => Order;
  readonly #answers = new Map<number, (answer: Answer | undefined) => void>();
  readonly #listening = Promise.withResolvers<void>();
  readonly #left = Promise.withResolvers<Error | undefined>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #end = new AbortController();
  #orders = 0;
  #isLoaded = false;
  #result: ShutdownResult | undefined;
  /** Whether it has not answered in time when it was to end. */
  isSilent = false;
  /** What it has counted, by its last word. */
  stats: ListenerStats = NOTHING;

  /**
   * @param module What it runs.
   * @param label What Deno calls it where it prints errors.
   * @param start What it is told when it is loaded: how to listen.
   */
  constructor(module: string | URL, label: string, start: () => Order) {
    this.#start = start;
    this.#name = `${label} ${crypto.randomUUID()}`; // of its lock, too
    this.#worker = new Worker(module, { type: "module", name: this.#name });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => {
      event.preventDefault(); // or this process would end
      this.#fail(event.error ?? new Error(event.message));
    };
    const timer = setTimeout(() => {
      this.#fail(
        new Error(`Worker does not listen after ${MAX_START / 1000} s`),
      );
    }, MAX_START);
    const started = () => clearTimeout(timer);
    this.#listening.promise.then(started, started);
  }

  /** Resolves when it listens; rejects when it fails, or ends, before. */
  get listening(): Promise<void> {
    return this.#listening.promise;
  }

  /**
   * Resolves when it takes nobody any more, whether it was told to or not. With an
   * error, if it has failed: then it is to be ended.
   */
  get left(): Promise<Error | undefined> {
    return this.#left.promise;
  }

  /** Whether it has ended. */
  get hasEnded(): boolean {
    return this.#end.signal.aborted;
  }

  /** Resolves when it has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  #hear(report: Report): void {
    this.stats = report.stats;
    switch (report.report) {
      case "loaded":
        this.#isLoaded = true;
        onDeath(
          this.#name,
          this.#end.signal,
          () => this.#fail(new Error("Worker has ended")),
        );
        this.tell(this.#start(), MAX_START).then((answer) => {
          if (answer?.error) this.#fail(fromThrown(answer.error));
          else if (answer) this.#listening.resolve();
        });
        break;
      case "answer":
        this.#result ??= report.result;
        this.#answers.get(report.id)?.(report);
        break;
      case "failed":
        this.#fail(fromThrown(report.error));
        break;
      case "left":
        this.#left.resolve(undefined);
        break;
      case "finished":
        this.end();
    }
  }

  #fail(error: Error): void {
    this.#listening.reject(error);
    this.#listening.promise.catch(() => {});
    this.#left.resolve(error);
  }

  /**
   * Gives an order.
   *
   * @param patience How long to wait for the answer, in ms.
   * @returns The answer; undefined if there is none in time, or the thread has ended.
   */
  tell(order: Order, patience: number = PATIENCE): Promise<Answer | undefined> {
    // One that is not there yet will be told how things are then.
    if (!this.#isLoaded || this.hasEnded) {
      return Promise.resolve(undefined);
    }
    const id = this.#orders++;
    const sent: Sent = { ...order, id };
    return new Promise((resolve) => {
      const timer = patience === Infinity
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
    this.isSilent ||= this.#isLoaded && !this.hasEnded && !answer;
    this.end();
    return this.#result; // which may be the answer to another such order
  }

  /** Ends it at once. A loop in it goes on: nothing ends that. */
  end(): void {
    if (this.hasEnded) return;
    this.#end.abort();
    this.#worker.terminate();
    this.#left.resolve(undefined);
    this.#fail(new Error("Worker has ended"));
    for (const answer of [...this.#answers.values()]) answer(undefined);
    this.#ended.resolve();
  }
}
