import type { ListenerStats, ShutdownResult } from "../types.ts";
import { within } from "../util/within.ts";
import { NOTHING, sum } from "../stats.ts";
import type { Order } from "./protocol.ts";
import { PATIENCE, Thread } from "./thread.ts";

/** How long after its failure a worker is replaced, in ms. Doubled with each failure. */
const MIN_WAIT = 50;
/** The longest such wait, in ms. */
const MAX_WAIT = 5000;
/** How long a worker must have listened for the wait to be MIN_WAIT again, in ms. */
const GOOD_LIFE = 10_000;

/** What all workers of a service share. */
export interface Host {
  /** The module of the program. */
  readonly module: string;
  /** What Deno calls the worker where it prints errors. */
  readonly label: string;
  /** Whether two threads can listen at the same time. */
  readonly canOverlap: boolean;
  /** Takes a slot of the shared memory for a new thread. */
  takeSlot(): number;
  /** Gives back the slot of a thread that has ended, and says whether another may have it. */
  giveSlotBack(slot: number, isFree: boolean): void;
  /** How a thread with this slot is to listen: as things are now. */
  orderToListen(slot: number): Order;
  /** Called when the worker has begun, or ceased, to accept connections. */
  onChange(): void;
  /** Called with the reason when a thread of the worker has failed. */
  onFailure(error: Error): void;
}

/**
 * One of the workers, through all its threads. At most one of them listens. When that is
 * to be replaced, the next one listens first; when it has failed, the next one comes
 * after a while.
 */
export class ParallelWorker {
  readonly #host: Host;
  /** All threads that have not ended. Each is in one state, and counted once. */
  readonly #threads = new Set<Thread>();
  readonly #silent: Thread[] = []; // did not answer when they were to end
  #past: ListenerStats = NOTHING; // what the threads that have ended had counted
  #starting: Promise<void> | undefined;
  #since = 0; // when the last thread began to listen
  #wait = MIN_WAIT;
  #timer: ReturnType<typeof setTimeout> | undefined; // until it is replaced
  #isRefed = true;
  #hasEnded = false;
  /** How often it was replaced because it had failed. */
  restarts = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  /** Whether it accepts connections. */
  get isListening(): boolean {
    return this.#listening !== undefined;
  }

  get #listening(): Thread | undefined {
    return [...this.#threads].find(({ state }) => state === "listening");
  }

  /** What all its threads have counted, as last reported. */
  get stats(): ListenerStats {
    return [...this.#threads].map(({ stats }) => stats).reduce(sum, this.#past);
  }

  // Start

  /**
   * Starts a thread. Resolves when it listens, and rejects if it does not come up. A
   * worker that has ended starts nothing.
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
    this.#host.onChange();
  }

  #spawn(): Thread {
    const host = this.#host;
    const slot = host.takeSlot();
    const thread: Thread = new Thread({
      module: host.module,
      label: host.label,
      orderToListen: () => host.orderToListen(slot),
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
        host.giveSlotBack(slot, !thread.isSilent);
      },
    });
    this.#threads.add(thread);
    thread.ref(this.#isRefed);
    return thread;
  }

  // Failure

  #onLeft(): void {
    this.#miss();
    if (this.#hasEnded) return;
    this.#host.onFailure(new Error("Worker has closed its listener"));
  }

  #onFailed(error: Error, wasListening: boolean): void {
    if (wasListening) this.#miss();
    this.#host.onFailure(error);
  }

  #miss(): void {
    this.#host.onChange();
    if (performance.now() - this.#since >= GOOD_LIFE) this.#wait = MIN_WAIT;
    if (!this.#starting) this.#replaceLater();
  }

  #replaceLater(): void {
    if (this.#hasEnded) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#replace(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT);
  }

  async #replace(): Promise<void> {
    try {
      await this.start();
      if (!this.#hasEnded) this.restarts++;
    } catch (error) {
      this.#host.onFailure(error as Error);
    }
  }

  // Orders

  /**
   * Replaces the thread that listens. Resolves when the new one listens, with a promise
   * of the old one's end; rejects if the new one does not come up.
   */
  async restart(timeout: number): Promise<{ drained: Promise<void> }> {
    await this.#starting?.catch(() => {}); // it may have loaded the old code
    const old = this.#listening;
    if (!this.#host.canOverlap && old) await this.#leave(old, timeout);
    await this.start();
    const isOld = old?.state === "listening";
    const drained = isOld ? this.#leave(old, timeout) : Promise.resolve();
    return { drained };
  }

  /** A thread that does not answer is not waited for: it leaves when it can. */
  async #leave(thread: Thread, timeout: number): Promise<void> {
    const finished = thread.finish("leave", timeout);
    if (await within(PATIENCE, thread.left)) await finished;
  }

  /** Gives an order to all its threads. */
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
   * @returns How that went, and whether a thread has not answered in time.
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
