/** A service with several workers among clients that never stop coming. */
import {
  listenParallel,
  type ParallelListener,
  type ParallelOptions,
  type ParallelStats,
} from "@evconn/listener/parallel";
import { assert } from "@std/assert";
import { connect } from "./clients.ts";
import { ask, untilStats, workerModule } from "./parallel_service.ts";
import type { Ledger } from "./workers/mortal.ts";

const LANES = 16;
/** A client that has waited so long, in ms, has been forgotten. */
export const PATIENCE = 20_000;
export type Random = (below: number) => number;

/** Whole numbers that follow from a seed (xorshift32). */
export function seeded(seed: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export const rest = (ms: number) =>
  new Promise<void>((go) => setTimeout(go, ms));

/** What a service and its test begin with. */
export function newLedger(text = "old"): Ledger {
  return {
    takers: new SharedArrayBuffer(65536 * 4),
    dead: new SharedArrayBuffer(65536 * 4),
    numbers: new SharedArrayBuffer(8),
    text,
  };
}

/** What comes back; null if the connection has ended, undefined if nothing comes. */
async function askAndWait(conn: Deno.Conn, text: string) {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), PATIENCE);
  const answer = ask(conn, text).catch(() => null);
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Clients of so many different workers that live. They stay until disposed of. */
export async function reach(
  service: ParallelListener,
  { dead }: Ledger,
  workers: number,
): Promise<Map<number, Deno.Conn> & Disposable> {
  const reached = new Map<number, Deno.Conn>();
  const isDead = new Int32Array(dead);
  using stack = new DisposableStack();
  const deadline = performance.now() + PATIENCE;
  while (reached.size < workers) {
    assert(performance.now() < deadline, `only ${[...reached.keys()]}`);
    const client = stack.use(await connect(service));
    const answer = await askAndWait(client, "who");
    if (answer) reached.set(Number(answer.split(" ")[0]), client);
    for (const number of reached.keys()) {
      if (isDead[number]) reached.delete(number);
    }
    await rest(5);
  }
  const kept = stack.move();
  return Object.assign(reached, { [Symbol.dispose]: () => kept.dispose() });
}

/** Starts workers that do to themselves what clients say. */
export function startMortals(
  data: Ledger,
  options: Partial<ParallelOptions>,
): Promise<ParallelListener> {
  return listenParallel(workerModule("mortal"), {
    hostname: "127.0.0.1",
    port: 0,
    data,
    onWorkerError: () => {},
    ...options,
  });
}

/** What became of clients that should have had an answer. */
export const NOBODY = { refused: 0, forgotten: 0, lost: 0, untaken: 0 };

/** A service among clients that never stop coming, until they are told to. */
export class Siege {
  readonly service: ParallelListener;
  readonly ledger: Ledger;
  readonly #random: Random;
  readonly #takers: Int32Array;
  readonly #dead: Int32Array;
  readonly #lanes: Promise<void>[];
  #isOver = false;
  /** Clients that had all their answers. */
  answered = 0;
  /** Clients of a worker that died. */
  excused = 0;
  /** What should not have happened. */
  readonly harm = { ...NOBODY };

  constructor(service: ParallelListener, ledger: Ledger, random: Random) {
    this.service = service;
    this.ledger = ledger;
    this.#random = random;
    this.#takers = new Int32Array(ledger.takers);
    this.#dead = new Int32Array(ledger.dead);
    this.#lanes = Array.from({ length: LANES }, () => this.#lane());
  }

  async #lane(): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      await this.#visit(`${i}`);
      await rest(this.#random(5));
    }
  }

  /** One client that asks up to four times. */
  async #visit(text: string): Promise<void> {
    let conn;
    try {
      conn = await connect(this.service);
    } catch {
      this.harm.refused++;
      return;
    }
    using client = conn;
    const { port } = client.localAddr;
    for (let left = this.#random(4); left >= 0; left--) {
      const answer = await askAndWait(client, text);
      if (!answer?.endsWith(` ${text}`)) return this.#mourn(port, answer);
      await rest(this.#random(3));
    }
    this.answered++;
    this.#takers[port] = 0; // the next one may have the same port
  }

  #mourn(port: number, answer: string | null | undefined): void {
    const taker = this.#takers[port]!;
    this.#takers[port] = 0;
    if (answer === undefined) this.harm.forgotten++;
    else if (taker === 0) this.harm.untaken++;
    else if (this.#dead[taker]) this.excused++;
    else this.harm.lost++;
  }

  /** Has a worker do something to itself, while another one lives. */
  readonly tell = async (command: string): Promise<void> => {
    using clients = await reach(this.service, this.ledger, 2);
    const [victim] = clients.values();
    await askAndWait(victim!, command);
  };

  /** The counts after the last client has gone. */
  last!: ParallelStats;

  /** Resolves when the last client has gone. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#lanes);
  }
}

/** Has clients come as long as something is done to their service, and a while longer. */
export async function besiege(
  seed: number,
  workers: number,
  run: (siege: Siege, random: Random) => Promise<void>,
): Promise<Siege> {
  const ledger = newLedger();
  await using stack = new AsyncDisposableStack();
  const service = await startMortals(ledger, { workers });
  stack.defer(async () => void await service.shutdown({ timeout: 0 }));
  const siege = new Siege(service, ledger, seeded(seed));
  try {
    await run(siege, seeded(seed + 1000));
  } finally {
    await siege.end();
  }
  (await reach(service, ledger, workers))[Symbol.dispose](); // none is missing
  assert(siege.answered > 0);
  siege.last = await untilStats(service, ({ active }) => active === 0);
  return siege;
}
