import type { ListenerStats, ShutdownResult } from "../types.ts";
import { within } from "../util/within.ts";
import { NOTHING, sum } from "../stats.ts";
import type { Order } from "./protocol.ts";
import { ANSWER_TIMEOUT, Thread } from "./thread.ts";

/** The first delay before a failed worker is replaced, in ms. Doubled with each failure. */
const MIN_DELAY = 50;
/** The longest delay, in ms. */
const MAX_DELAY = 5000;
/** How long a worker must have listened for the delay to be MIN_DELAY again, in ms. */
const STABLE_AFTER = 10_000;

/** The service that a worker belongs to. */
export interface WorkerOwner {
  /** The module of the program. */
  readonly module: string;
  /** The name of the worker in error messages of Deno. */
  readonly label: string;
  /** Whether two threads can listen at the same time. */
  readonly canOverlap: boolean;
  /** Takes a slot of the shared memory for a new thread. */
  takeSlot(): number;
  /** Gives back the slot of a thread that has ended. `isFree`: whether another may have it. */
  giveSlotBack(slot: number, isFree: boolean): void;
  /** Makes the order to listen, for a thread with this slot, by the state of now. */
  orderToListen(slot: number): Order;
  /** Called when the worker has begun or stopped to accept connections. */
  onChange(): void;
  /** Called with the reason when a thread of the worker has failed. */
  onFailure(error: Error): void;
}

/**
 * One of the workers. It has several threads over time, of which at most one listens. At
 * a restart, the new thread listens before the old one leaves. After a failure, the new
 * thread is started after a delay.
 */
export class ParallelWorker {
  readonly #owner: WorkerOwner;
  /** The threads that have not ended. */
  readonly #threads = new Set<Thread>();
  readonly #silent: Thread[] = []; // ended, without an answer to the last order
  #past: ListenerStats = NOTHING; // of the threads that have ended
  #starting: Promise<void> | undefined;
  #since = 0; // when the last thread began to listen
  #delay = MIN_DELAY;
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next start
  #isRefed = true;
  #hasEnded = false;
  /** How many times it was replaced after a failure. */
  restarts = 0;

  constructor(owner: WorkerOwner) {
    this.#owner = owner;
  }

  /** Whether it accepts connections. */
  get isListening(): boolean {
    return this.#listening !== undefined;
  }

  get #listening(): Thread | undefined {
    return [...this.#threads].find(({ state }) => state === "listening");
  }

  /** The counters of all its threads, as last reported. */
  get stats(): ListenerStats {
    return [...this.#threads].map(({ stats }) => stats).reduce(sum, this.#past);
  }

  // Start

  /**
   * Starts a thread. Resolves when it listens; rejects if it fails before. After the end
   * of the worker, it starts nothing.
   */
  start(): Promise<void> {
    return this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
  }

  async #start(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#hasEnded) return;
    const thread = this.#spawn();
    try {
      await thread.listening;
    } catch (error) {
      thread.end();
      if (this.#hasEnded) return;
      if (!this.isListening) this.#replaceLater();
      throw error;
    }
    this.#since = performance.now();
    this.#owner.onChange();
  }

  #spawn(): Thread {
    const owner = this.#owner;
    const slot = owner.takeSlot();
    const thread: Thread = new Thread({
      module: owner.module,
      label: owner.label,
      orderToListen: () => owner.orderToListen(slot),
      onLeft: () => this.#onLeft(),
      onFailed: (error, wasListening) => {
        this.#onFailed(error, wasListening);
        thread.end();
      },
      onEnded: () => {
        this.#threads.delete(thread);
        const now = { active: 0, parked: 0, waiting: 0 };
        this.#past = sum(this.#past, { ...thread.stats, ...now });
        if (thread.isSilent) this.#silent.push(thread);
        owner.giveSlotBack(slot, !thread.isSilent);
      },
    });
    this.#threads.add(thread);
    thread.ref(this.#isRefed);
    return thread;
  }

  // Failure

  #onLeft(): void {
    this.#onStopped();
    if (this.#hasEnded) return;
    this.#owner.onFailure(new Error("Worker has closed its listener"));
  }

  #onFailed(error: Error, wasListening: boolean): void {
    if (wasListening) this.#onStopped();
    this.#owner.onFailure(error);
  }

  #onStopped(): void {
    this.#owner.onChange();
    if (performance.now() - this.#since >= STABLE_AFTER) {
      this.#delay = MIN_DELAY;
    }
    if (!this.#starting) this.#replaceLater();
  }

  #replaceLater(): void {
    if (this.#hasEnded) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#replace(), this.#delay);
    this.#delay = Math.min(this.#delay * 2, MAX_DELAY);
  }

  async #replace(): Promise<void> {
    try {
      await this.start();
      if (!this.#hasEnded) this.restarts++;
    } catch (error) {
      this.#owner.onFailure(error as Error);
    }
  }

  // Orders

  /**
   * Replaces the thread that listens. Resolves when the new one listens; rejects if the
   * new one fails before.
   *
   * @returns `drained` resolves when the old thread has ended.
   */
  async restart(timeout: number): Promise<{ drained: Promise<void> }> {
    await this.#starting?.catch(() => {}); // that thread may have loaded the old code
    const old = this.#listening;
    if (!this.#owner.canOverlap && old) await this.#leave(old, timeout);
    await this.start();
    const isOld = old?.state === "listening";
    const drained = isOld ? this.#leave(old, timeout) : Promise.resolve();
    return { drained };
  }

  /** Lets a thread leave. Does not wait for a thread that does not answer. */
  async #leave(thread: Thread, timeout: number): Promise<void> {
    const finished = thread.finish("leave", timeout);
    if (await within(ANSWER_TIMEOUT, thread.left)) await finished;
  }

  /** Sends an order to all its threads. */
  async tell(order: Order): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => thread.tell(order)));
  }

  /** Lets it keep the process alive: always, or only while it has connections. */
  ref(isRefed: boolean): void {
    this.#isRefed = isRefed;
    for (const thread of this.#threads) thread.ref(isRefed);
  }

  // End

  /** Closes the sockets. Resolves when their address is free. */
  async close(): Promise<void> {
    this.#end();
    await this.tell({ order: "close" });
  }

  /**
   * Serves the connections to their end, and ends.
   *
   * @returns The result, and whether a thread has not answered in time.
   */
  async shutDown(
    timeout: number,
  ): Promise<ShutdownResult & { isSilent: boolean }> {
    this.#end();
    const total = { completed: 0, aborted: 0 };
    await Promise.all([...this.#threads].map(async (thread) => {
      const result = await thread.finish("shutdown", timeout);
      total.completed += result?.completed ?? 0;
      total.aborted += result?.aborted ?? 0;
    }));
    const silent = this.#silent.map((thread) => thread.mayRun());
    const isSilent = (await Promise.all(silent)).includes(true);
    return { ...total, isSilent };
  }

  #end(): void {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const thread of this.#threads) {
      if (thread.state === "loading") thread.end();
    }
  }

  /** Resolves when no thread is left. */
  async ended(): Promise<void> {
    await Promise.all([...this.#threads].map(({ ended }) => ended));
  }
}
