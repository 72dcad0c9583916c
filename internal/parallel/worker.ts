import type { ListenerStats, ShutdownResult } from "../types.ts";
import { within } from "../util/within.ts";
import { NOTHING, type Order, sum } from "./protocol.ts";
import { PATIENCE, Thread } from "./thread.ts";

/** How long it takes until a worker that has failed is replaced, in ms, */
const MIN_WAIT = 50;
/** and how long at the most, where those after it fail as well, */
const MAX_WAIT = 5000;
/** until one has lived so long, in ms. */
const GOOD_LIFE = 10_000;

/** Whom a worker works for. */
export interface Host {
  /** What it runs. */
  readonly module: string | URL;
  /** Its name. */
  readonly label: string;
  /** Whether two of its threads can listen at the same time. */
  readonly canOverlap: boolean;
  /** What its thread with this number is told: how things are now. */
  orderToListen(thread: number): Order;
  /** Told that its thread with this number has ended. */
  onEnd(thread: number): void;
  /** Told that it has begun, or ceased, to take connections. */
  onChange(): void;
  /** Told why one of its threads has failed. */
  onFailure(error: Error): void;
}

/**
 * One of the workers, through all the threads that it has in its life. One of them takes
 * connections. When that is to be replaced the next one listens first; when it has
 * failed the next one comes after a while.
 */
export class ParallelWorker {
  readonly #host: Host;
  #thread: Thread | undefined; // takes connections
  #coming: Thread | undefined; // is about to
  #starting: Promise<void> | undefined; // until it does
  readonly #leaving = new Set<Thread>(); // serve to the end
  readonly #silent: Thread[] = []; // have not answered when they were to end
  #past: ListenerStats = NOTHING; // of those that have ended
  #threads = 0; // how many there were
  #since = 0; // when the one that takes connections began
  #wait = MIN_WAIT;
  #timer: ReturnType<typeof setTimeout> | undefined; // until it is replaced
  #hasEnded = false;
  /** How often it was replaced because it had failed. */
  restarts = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  /** Whether it takes connections. */
  get isListening(): boolean {
    return this.#thread !== undefined;
  }

  /** What all its threads have counted, by their last words. */
  get stats(): ListenerStats {
    return this.#all.map(({ stats }) => stats).reduce(sum, this.#past);
  }

  get #all(): Thread[] {
    const all = [this.#thread, this.#coming, ...this.#leaving];
    return all.filter((thread) => thread !== undefined);
  }

  /** Starts a thread in place of the one that there is. Rejects if it does not come up. */
  start(): Promise<void> {
    return this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
  }

  async #start(): Promise<void> {
    clearTimeout(this.#timer);
    const thread = this.#coming = this.#spawn();
    try {
      await thread.listening;
    } catch (error) {
      thread.end();
      if (!this.isListening) this.#replaceLater();
      throw error;
    } finally {
      this.#coming = undefined;
    }
    if (this.#thread) this.#leaving.add(this.#thread);
    this.#thread = thread;
    this.#since = performance.now();
    this.#host.onChange();
  }

  #spawn(): Thread {
    const { module, label, ...host } = this.#host;
    const number = this.#threads++;
    const thread: Thread = new Thread({
      module,
      label,
      orderToListen: () => host.orderToListen(number),
      onLeft: () => this.#onLeft(thread),
      onFailed: (error) => this.#onFailed(thread, error),
      onEnded: () => {
        const now = { active: 0, parked: 0, waiting: 0 };
        this.#past = sum(this.#past, { ...thread.stats, ...now });
        this.#leaving.delete(thread);
        if (thread.isSilent) this.#silent.push(thread);
        host.onEnd(number);
      },
    });
    return thread;
  }

  /** One that was not told to leave has done so by itself. */
  #onLeft(thread: Thread): void {
    if (thread !== this.#thread) return;
    this.#leaving.add(thread);
    this.#miss();
    if (this.#hasEnded) return;
    this.#host.onFailure(new Error("Worker has closed its listener"));
  }

  #onFailed(thread: Thread, error: Error): void {
    if (thread === this.#thread) this.#miss();
    this.#host.onFailure(error);
    thread.end();
  }

  #miss(): void {
    this.#thread = undefined;
    this.#host.onChange();
    if (performance.now() - this.#since >= GOOD_LIFE) this.#wait = MIN_WAIT;
    if (!this.#coming) this.#replaceLater();
  }

  #replaceLater(): void {
    if (this.#hasEnded) return;
    this.#timer = setTimeout(() => this.#replace(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT);
  }

  async #replace(): Promise<void> {
    try {
      await this.start();
      this.restarts++;
    } catch (error) {
      if (!this.#hasEnded) this.#host.onFailure(error as Error);
    }
  }

  /** Replaces the thread that takes connections, and waits until it has served them. */
  async restart(timeout: number): Promise<void> {
    const old = this.#thread;
    if (this.#host.canOverlap) await this.start();
    else this.#thread = undefined; // that it leaves is no failure
    if (old) await this.#leave(old, timeout);
    if (!this.#host.canOverlap) await this.start();
  }

  /** One that does not answer is not waited for: it leaves when it can. */
  async #leave(thread: Thread, timeout: number): Promise<void> {
    this.#leaving.add(thread);
    const finished = thread.finish("leave", timeout);
    if (await within(PATIENCE, thread.left)) await finished;
  }

  /** Gives an order to all its threads. */
  async tell(order: Order): Promise<void> {
    await Promise.all(this.#all.map((thread) => thread.tell(order)));
  }

  /** Lets nobody take connections any more. Resolves when their address is free. */
  async close(): Promise<void> {
    this.#end();
    await this.tell({ order: "close" });
  }

  /**
   * Serves the connections to their end, and ends.
   *
   * @returns How that went, and whether one has not answered in time.
   */
  async shutDown(
    timeout: number,
  ): Promise<ShutdownResult & { isSilent: boolean }> {
    this.#end();
    const total = { completed: 0, aborted: 0 };
    await Promise.all(this.#all.map(async (thread) => {
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
    if (this.#coming?.isLoaded === false) this.#coming.end();
  }

  /** Resolves when none of its threads is left. */
  async ended(): Promise<void> {
    await Promise.all(this.#all.map(({ ended }) => ended));
  }
}
