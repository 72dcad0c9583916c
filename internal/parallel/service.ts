import { callHook, print } from "../util/hooks.ts";
import { checkTimeout } from "../check.ts";
import { Slots } from "./load.ts";
import type { ParallelSettings } from "./options.ts";
import { findPlace, holdQueue, type Share } from "./place.ts";
import { NOTHING, sum } from "../stats.ts";
import type { Order, Place } from "./protocol.ts";
import type {
  ParallelListener,
  ParallelMode,
  ParallelShutdownResult,
  ParallelStats,
} from "./types.ts";
import { ParallelWorker, type WorkerOwner } from "./worker.ts";

/** The parent of the workers. It finds a place to listen, and sends orders to all workers. */
export class ParallelService implements ParallelListener {
  readonly addr: Deno.NetAddr;
  readonly #settings: ParallelSettings;
  readonly #place: Place;
  readonly #workers: ParallelWorker[];
  readonly #slots: Slots;
  readonly #finished = Promise.withResolvers<void>();
  #data: unknown;
  #queue: Disposable | undefined; // open while no worker listens
  #isPaused = false;
  #isRefed = true;
  #hasEnded = false;
  #isDraining = false;
  #shutdown: Promise<ParallelShutdownResult> | undefined;
  #restarting: Promise<void> = Promise.resolve(); // until all new threads listen

  /** @param share Opens a socket of a shared queue, if not as Deno does. */
  constructor(settings: ParallelSettings, share?: Share) {
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
    this.#slots = new Slots(length);
    this.#workers = Array.from(
      { length },
      (_, index) => new ParallelWorker(this.#ownerOf(index)),
    );
  }

  #ownerOf(index: number): WorkerOwner {
    const slots = this.#slots;
    return {
      module: this.#settings.worker,
      label: `worker ${index}`,
      canOverlap: this.mode !== "single",
      takeSlot: () => slots.take(),
      giveSlotBack: (slot, isFree) => slots.giveBack(slot, isFree),
      orderToListen: (slot) => ({
        order: "listen",
        place: this.#place,
        data: this.#data,
        paused: this.#isPaused,
        load: { buffer: slots.buffer, slot },
      }),
      onChange: () => this.#keepQueue(),
      onFailure: (error) => this.#reportFailure(error, index),
    };
  }

  /** Starts all workers. If one fails, all are ended, and the port is free. */
  async start(): Promise<void> {
    const { signal } = this.#settings;
    const abort = () => void this.shutdown({ timeout: 0 });
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort);
    this.finished.then(() => signal?.removeEventListener("abort", abort));
    this.#keepQueue();
    try {
      await Promise.all(this.#workers.map((worker) => worker.start()));
      signal?.throwIfAborted();
    } catch (error) {
      await this.shutdown({ timeout: 0 });
      throw error;
    }
  }

  /**
   * Without a listening socket, the kernel resets the queue. So the parent has one while no
   * worker listens. It accepts nothing, but would be woken for each client, so it is closed
   * as soon as a worker listens.
   */
  #keepQueue(): void {
    if (this.#hasEnded || this.#workers.some((each) => each.isListening)) {
      this.#queue?.[Symbol.dispose]();
      this.#queue = undefined;
    } else {
      this.#queue ??= holdQueue(this.#place);
    }
  }

  #reportFailure(error: Error, index: number): void {
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

  ref(): void {
    this.#isRefed = true;
    this.#keepAlive();
  }

  unref(): void {
    this.#isRefed = false;
    this.#keepAlive();
  }

  #keepAlive(): void {
    const isRefed = this.#isRefed && !this.#isPaused;
    for (const worker of this.#workers) worker.ref(isRefed);
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    this.#keepAlive();
    await this.#tell({ order: "pause" });
  }

  async resume(): Promise<void> {
    this.#isPaused = false;
    this.#keepAlive();
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
    const drains: Promise<void>[] = [];
    const before = this.#restarting;
    const restarted = before.then(() => this.#restartAll(timeout, drains));
    this.#restarting = restarted.catch(() => {});
    await restarted;
    await Promise.all(drains);
  }

  /** Starts new threads one after the other. The old ones drain at the same time. */
  async #restartAll(timeout: number, drains: Promise<void>[]): Promise<void> {
    for (const worker of this.#workers) {
      if (this.#hasEnded) return;
      const { drained } = await worker.restart(timeout);
      drains.push(drained);
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
