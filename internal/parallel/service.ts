import { callHook, print } from "../util/hooks.ts";
import { checkTimeout } from "../check.ts";
import { Load } from "./load.ts";
import type { ParallelSettings } from "./options.ts";
import { findPlace, holdQueue, type Share } from "./place.ts";
import { NOTHING, type Order, type Place, sum } from "./protocol.ts";
import type {
  ParallelListener,
  ParallelMode,
  ParallelShutdownResult,
  ParallelStats,
} from "./types.ts";
import { type Host, ParallelWorker } from "./worker.ts";

/** A thread, and the one that comes after it, have places of their own among the loads. */
const THREADS = 2;

/** The parent: finds a place to listen, and tells all workers the same. */
export class ParallelService implements ParallelListener {
  readonly addr: Deno.NetAddr;
  readonly #settings: ParallelSettings;
  readonly #place: Place;
  readonly #workers: ParallelWorker[];
  readonly #loads: SharedArrayBuffer;
  readonly #finished = Promise.withResolvers<void>();
  #data: unknown;
  #queue: Disposable | undefined; // kept while no worker does
  #isPaused = false;
  #hasEnded = false;
  #isDraining = false;
  #shutdown: Promise<ParallelShutdownResult> | undefined;
  #restarted: Promise<void> = Promise.resolve(); // the restart before

  /** @param share How threads share a queue, if not by Deno's own means. */
  constructor(
    module: string | URL,
    settings: ParallelSettings,
    share?: Share,
  ) {
    this.#settings = settings;
    this.#data = settings.data;
    const { place, addr } = findPlace(settings.bind, share);
    this.#place = place;
    this.addr = addr;
    const { workers } = settings;
    const length = this.mode === "single" ? 1 : workers;
    if (length < workers) {
      console.warn(
        "Listening with one worker: this Deno cannot share a port among threads",
      );
    }
    this.#loads = Load.forWorkers(length * THREADS);
    this.#workers = Array.from(
      { length },
      (_, index) => new ParallelWorker(this.#host(module, index)),
    );
  }

  #host(module: string | URL, index: number): Host {
    const slot = (thread: number) => index * THREADS + thread % THREADS;
    return {
      module,
      label: `worker ${index}`,
      canOverlap: this.mode !== "single",
      orderToListen: (thread) => ({
        order: "listen",
        place: this.#place,
        data: this.#data,
        paused: this.#isPaused,
        load: { buffer: this.#loads, slot: slot(thread) },
      }),
      onEnd: (thread) => new Load(this.#loads, slot(thread)).part(),
      onChange: () => this.#keepQueue(),
      onFailure: (error) => this.#tellFailure(error, index),
    };
  }

  /** Starts all workers. If one does not come up, none is left, and the port is free. */
  async start(): Promise<void> {
    this.#keepQueue();
    try {
      await Promise.all(this.#workers.map((worker) => worker.start()));
    } catch (error) {
      await this.shutdown({ timeout: 0 });
      throw error;
    }
    const { signal } = this.#settings;
    if (!signal) return;
    const abort = () => void this.shutdown({ timeout: 0 });
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    this.finished.then(() => signal.removeEventListener("abort", abort));
  }

  /**
   * Without anybody who listens, the kernel would forget its queue. The parent accepts
   * nobody, but is woken for each: so only as long as it must.
   */
  #keepQueue(): void {
    if (this.#hasEnded || this.#workers.some((each) => each.isListening)) {
      this.#queue?.[Symbol.dispose]();
      this.#queue = undefined;
    } else {
      this.#queue ??= holdQueue(this.#place);
    }
  }

  #tellFailure(error: Error, index: number): void {
    const hook = this.#settings.onWorkerError;
    if (hook) return callHook(() => hook(error, index));
    print(console.error, `Error in worker ${index}:`, error);
  }

  get workers(): number {
    return this.#workers.length;
  }

  get mode(): ParallelMode {
    return this.#place.mode;
  }

  get state(): "listening" | "paused" | "draining" | "closed" {
    if (this.#isDraining) return "draining";
    if (this.#hasEnded) return "closed";
    return this.#isPaused ? "paused" : "listening";
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#tell({ order: "pause" });
  }

  async resume(): Promise<void> {
    this.#isPaused = false;
    await this.#tell({ order: "resume" });
  }

  async setData(data: unknown): Promise<void> {
    this.#data = structuredClone(data);
    await this.#tell({ order: "setData", data: this.#data });
  }

  async #tell(order: Order): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.tell(order)));
  }

  async stats(): Promise<ParallelStats> {
    await this.#tell({ order: "stats" });
    const workers = this.#workers.map(({ stats }) => stats);
    const restarts = this.#workers.reduce(
      (all, each) => all + each.restarts,
      0,
    );
    return { ...workers.reduce(sum, NOTHING), workers, restarts };
  }

  async restart(options: { timeout?: number } = {}): Promise<void> {
    const timeout = options.timeout ?? Infinity;
    checkTimeout(timeout, "restart");
    const before = this.#restarted;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#restarted = promise;
    await before;
    try {
      await this.#restartAll(timeout);
    } finally {
      resolve();
    }
  }

  async #restartAll(timeout: number): Promise<void> {
    for (const worker of this.#workers) {
      if (this.#hasEnded) return;
      try {
        await worker.restart(timeout);
      } catch (error) {
        if (!this.#hasEnded) throw error;
      }
    }
  }

  async shutdown(
    options: { timeout?: number } = {},
  ): Promise<ParallelShutdownResult> {
    const timeout = options.timeout ?? Infinity;
    checkTimeout(timeout);
    const results = this.#workers.map((worker) => worker.shutDown(timeout));
    this.#shutdown ??= this.#sumUp(results);
    return await this.#shutdown;
  }

  async #sumUp(
    results: ReturnType<ParallelWorker["shutDown"]>[],
  ): Promise<ParallelShutdownResult> {
    this.#isDraining = !this.#hasEnded;
    this.#end();
    const total = { completed: 0, aborted: 0, unanswered: [] as number[] };
    for (const [index, result] of (await Promise.all(results)).entries()) {
      total.completed += result.completed;
      total.aborted += result.aborted;
      if (result.isSilent) total.unanswered.push(index);
    }
    await this.finished;
    return total;
  }

  async close(): Promise<void> {
    const closed = Promise.all(this.#workers.map((worker) => worker.close()));
    this.#end();
    await closed;
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#keepQueue();
    Promise.all(this.#workers.map((worker) => worker.ended())).then(() => {
      this.#isDraining = false;
      this.#finished.resolve();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}
