/**
 * Random clients against a listener that changes at random, and a check of everything
 * that must hold nevertheless.
 *
 * ```sh
 * deno task chaos                      # until 100,000 clients have connected
 * deno task chaos --seconds 10 --seed 7
 * ```
 *
 * Each round has its own listener, and ends with `shutdown()`: half of the rounds after
 * the clients have left, the other half while they are connected. The seed decides what
 * is tried. Which of two events comes first still depends on the machine.
 *
 * @module
 */
import { ConnListener, type ShutdownResult } from "@evconn/listener";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { parseArgs } from "@std/cli/parse-args";
import { ProgressBar } from "@std/cli/unstable-progress-bar";
import net from "node:net";
import { isGone, until } from "../tests/helpers/clients.ts";
import {
  descriptors,
  echo,
  roundTrip,
  writeAll,
} from "../tests/helpers/faults.ts";
import {
  connectFrom,
  HAS_MANY_ADDRESSES,
  headerOf,
} from "../tests/helpers/peer_clients.ts";

const HELP = `Usage: chaos.ts [options]

Random clients against a listener that changes at random. Fails if an invariant
does not hold.

Options:
  --seconds N  Stop after N seconds (default: after 100,000 connections)
  --seed S     Repeat the choices of another run (default: a random seed)
  --help       Show this and exit`;

const CONNECTIONS = 100_000;
const LANES = 40;
/** Where clients come from. */
const PEERS = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
/** A client that waits longer than this, in ms, was forgotten. */
const PATIENCE = 30_000;
/** What may be left of a connection, in bytes: less than any object would take. */
const FLAT = 16;

/** What happened in a run. */
export interface ChaosReport {
  seed: number;
  rounds: number;
  connections: number;
  /** Clients that got an answer. */
  answered: number;
  /** Clients that got no answer, and whose connection was closed without a reset. */
  closed: number;
  /** Clients that got no answer, and whose connection was reset. */
  reset: number;
  /** Clients that could not connect: their listener had ended. */
  refused: number;
  /** Clients that reset, stalled, or left before there was an answer. */
  rude: number;
  delivered: number;
  rejected: number;
  aborted: number;
  /** Accept failures that were injected. */
  injected: number;
  cut: number;
  /** Bytes of heap that a connection left behind; unknown without `gc()`. */
  bytesPerConnection?: number;
}

type Random = () => number;
type Handler = (conn: Deno.TcpConn) => void | Promise<void>;

/** Numbers from 0 to 1 that follow from a seed: a Weyl sequence, well mixed. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

const pick = <T>(random: Random, from: readonly T[]): T =>
  from[Math.floor(random() * from.length)]!;

const pause = (ms: number) => new Promise<void>((go) => setTimeout(go, ms));

/** A real listening socket some of whose accepts fail. */
class FaultySocket implements Deno.Listener<Deno.TcpConn, Deno.NetAddr> {
  /** How many of the accepts fail, from 0 to 1. */
  rate = 0;
  injected = 0;
  injectedAborts = 0;
  /** Accepts that failed by themselves: the client was gone. */
  gone = 0;
  readonly #random: Random;
  readonly #socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });

  constructor(random: Random) {
    this.#random = random;
  }

  get addr(): Deno.NetAddr {
    return this.#socket.addr;
  }

  accept(): Promise<Deno.TcpConn> {
    if (this.#random() >= this.rate) return this.#accept();
    const code = pick(this.#random, ["EMFILE", "ENOBUFS", "ECONNABORTED"]);
    if (code === "ECONNABORTED") this.injectedAborts++;
    else this.injected++;
    return Promise.reject(Object.assign(new Error("injected"), { code }));
  }

  #accept(): Promise<Deno.TcpConn> {
    const accepting = this.#socket.accept();
    accepting.catch((error) => {
      const isClosed = error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted;
      if (!isClosed) this.gone++;
    });
    return accepting;
  }

  close = () => this.#socket.close();
  ref = () => this.#socket.ref();
  unref = () => this.#socket.unref();
  [Symbol.asyncIterator] = () => this.#socket[Symbol.asyncIterator]();
  [Symbol.dispose] = () => this.#socket[Symbol.dispose]();
}

/** Handlers that replace each other, each of which counts its connections. */
function handlers(count: () => void): Handler[] {
  const once = async (conn: Deno.TcpConn) => {
    const buffer = new Uint8Array(100);
    const length = await conn.read(buffer);
    if (length !== null) await writeAll(conn, buffer.subarray(0, length));
  };
  const fails = async (conn: Deno.TcpConn) => {
    await conn.read(new Uint8Array(100));
    throw new Error("a bug in a handler");
  };
  const hesitates = async (conn: Deno.TcpConn) => {
    await pause(3);
    await echo(conn);
  };
  const keeps = (conn: Deno.TcpConn) => void serve(conn);
  return [echo, echo, once, fails, hesitates, keeps].map(
    (handler) => (conn: Deno.TcpConn) => {
      count();
      return handler(conn);
    },
  );
}

/** Serves a connection that the listener does not track. */
async function serve(conn: Deno.TcpConn): Promise<void> {
  await echo(conn).catch(() => {});
  conn[Symbol.dispose]();
}

/** One listener from its beginning to its end, among clients. */
class Round {
  readonly #random: Random;
  readonly #report: ChaosReport;
  readonly #socket: FaultySocket;
  readonly #listener: ConnListener;
  readonly #handlers: Handler[];
  readonly #iterated: boolean;
  /** Whether clients send a PROXY header. */
  readonly #proxied: boolean;
  readonly #holds: Disposable[] = [];
  readonly #overflow: "queue" | "reject";
  readonly #over = Promise.withResolvers<void>();
  #ended = false;
  #admitsAll = false;
  #delivered = 0;
  #told = 0;
  #connected = 0;
  #reset = 0;

  constructor(random: Random, report: ChaosReport) {
    this.#random = random;
    this.#report = report;
    this.#iterated = random() < 0.5;
    this.#proxied = random() < 0.5;
    this.#overflow = pick(random, ["queue", "reject"]);
    this.#handlers = handlers(() => this.#delivered++);
    this.#socket = new FaultySocket(random);
    this.#listener = new ConnListener(
      this.#socket,
      {
        maxConnections: pick(random, [1, 5, 20, 1000, Infinity]),
        maxConnectionsPerPeer: pick(random, [1, 5, 20, Infinity]),
        overflow: this.#overflow,
        proxyProtocol: this.#proxied,
        admit: () => this.#admitsAll || random() < 0.9,
        onReject: () => this.#sayNo(),
        onAcceptError: () => this.#told++,
        onConnectionError: () => {},
      },
      this.#iterated ? null : pick(random, this.#handlers),
    );
  }

  async run(ms: number): Promise<void> {
    const orderly = this.#random() < 0.5;
    const loop = this.#iterated ? this.#iterate() : undefined;
    const clients = Array.from({ length: LANES }, () => this.#lane());
    const changes = this.#change();
    await Promise.race([pause(ms), changes]);
    this.#ended = true;
    await changes;
    let result: ShutdownResult;
    if (orderly) {
      this.#socket.rate = 0;
      this.#listener.resume();
      for (const hold of this.#holds) hold[Symbol.dispose]();
      this.#over.resolve();
      await Promise.all(clients);
      await this.#allIsBack();
      result = await this.#listener.shutdown();
    } else {
      const timeout = Math.floor(this.#random() * 30);
      result = await this.#listener.shutdown({ timeout });
      this.#over.resolve();
      await Promise.all(clients);
    }
    await Promise.all([loop, this.#listener.finished]);
    this.#check(orderly, result);
  }

  /** What a hook does: nothing, fail, or hang, for ever or not. */
  #sayNo(): unknown {
    const chance = this.#random();
    if (chance < 0.5) return;
    if (chance < 0.55) return Promise.reject(new Error("a bug in a hook"));
    if (chance < 0.56) return new Promise(() => {});
    return pause(this.#random() * 20);
  }

  /** When all clients have left, each peer can have as many connections as before. */
  async #allIsBack(): Promise<void> {
    const listener = this.#listener;
    await until(() => {
      const { active, waiting, parked } = listener.stats;
      return active + waiting + parked === 0;
    }, "all places are free");
    assertEquals([...listener.connections], []);
    if (this.#iterated) return; // those are not counted
    this.#admitsAll = true;
    const peers = this.#proxied || HAS_MANY_ADDRESSES
      ? PEERS
      : PEERS.slice(0, 1); // all clients have the same address
    listener.maxConnections = peers.length;
    listener.maxConnectionsPerPeer = 1;
    listener.setCallback(this.#handlers[0]!);
    const clients = await Promise.all(peers.map((peer) => this.#connect(peer)));
    for (const client of clients) {
      assertEquals(await roundTrip(client!, "again"), "again");
    }
    for (const client of clients) client!.close();
  }

  /** Each accepted connection is in exactly one of these states. */
  #left(): number {
    const { accepted, rejected, aborted, parked, waiting } =
      this.#listener.stats;
    const { injectedAborts, gone } = this.#socket;
    const gaveUp = aborted - injectedAborts - gone;
    return accepted - this.#delivered - rejected - gaveUp - parked - waiting;
  }

  async #iterate(): Promise<void> {
    for await (const conn of this.#listener) {
      this.#delivered++;
      serve(conn);
    }
  }

  /** Pauses, resumes, holds, swaps, changes the limits, and lets accepts fail. */
  async #change(): Promise<void> {
    const listener = this.#listener;
    const changes = [
      () => listener.pause(),
      () => listener.resume(),
      () => listener.resume(),
      () => {
        if (!this.#iterated) {
          listener.setCallback(pick(this.#random, this.#handlers));
        }
      },
      () => {
        listener.maxConnections = pick(this.#random, [1, 3, 30, 300, Infinity]);
      },
      () => {
        listener.maxConnectionsPerPeer = pick(this.#random, [1, 3, Infinity]);
      },
      () => {
        this.#holds.push(listener.hold(pick(this.#random, ["one", "other"])));
      },
      ...Array<() => void>(2).fill(() => {
        for (const hold of this.#holds.splice(0)) hold[Symbol.dispose]();
      }),
      () => {
        this.#socket.rate = pick(this.#random, [0, 0, 0.01, 0.2]);
      },
    ];
    while (!this.#ended) {
      await pause(this.#random() * 10);
      pick(this.#random, changes)();
      // Some may be on the way from one count to the other; none stays there.
      for (let i = 0; i < 50 && this.#left() !== 0; i++) await pause(0);
      // A failed accept is told when somebody is wanted again.
      const left = this.#left();
      assert(left === 0 || (left === 1 && this.#proxied), `${left}`);
    }
  }

  async #lane(): Promise<void> {
    const behaviours = [
      () => this.#talk(),
      () => this.#talk(),
      () => this.#talk(),
      () => this.#halfClose(),
      () => this.#stall(),
      () => this.#leave(),
      () => this.#resets(),
    ];
    while (!this.#ended) await pick(this.#random, behaviours)();
  }

  async #connect(
    peer = pick(this.#random, PEERS),
    says = true,
  ): Promise<Deno.TcpConn | undefined> {
    try {
      const { port } = this.#socket.addr;
      const conn = this.#proxied || !HAS_MANY_ADDRESSES
        ? await Deno.connect({ hostname: "127.0.0.1", port })
        : await connectFrom(peer, this.#socket);
      if (this.#proxied && says) {
        await conn.write(headerOf(peer)).catch(() => {});
      }
      this.#connected++;
      return conn;
    } catch {
      this.#report.refused++;
      // Let the others go on; nothing will change any more here.
      await pause(1);
    }
  }

  /** A client that stays until it gets an answer. */
  async #stay(
    during: (conn: Deno.TcpConn) => Promise<boolean>,
  ): Promise<void> {
    using conn = await this.#connect();
    if (conn === undefined) return;
    let forgotten = false;
    const patience = setTimeout(() => {
      forgotten = true;
      conn.close();
    }, PATIENCE);
    try {
      if (await during(conn)) this.#report.answered++;
      else this.#report.closed++;
    } catch (error) {
      assert(!forgotten, "A client waited in vain");
      assert(isReset(error), `Neither an answer nor an end: ${error}`);
      this.#reset++;
    } finally {
      clearTimeout(patience);
    }
  }

  #talk(): Promise<void> {
    return this.#stay(async (conn) => {
      const text = `${this.#random()}`;
      const answer = await roundTrip(conn, text);
      if (answer === "") return false;
      assertEquals(answer, text);
      // Whether more is answered is up to the handler.
      const more = Math.floor(this.#random() * 4);
      for (let i = 0; i < more; i++) {
        if (await roundTrip(conn, text).catch(() => "") === "") break;
      }
      return true;
    });
  }

  #halfClose(): Promise<void> {
    return this.#stay(async (conn) => {
      const text = `${this.#random()}`;
      await writeAll(conn, new TextEncoder().encode(text));
      await conn.closeWrite();
      const answer = await readAll(conn);
      if (answer !== "") assertEquals(answer, text);
      return answer !== "";
    });
  }

  async #stall(): Promise<void> {
    using conn = await this.#connect(undefined, this.#random() < 0.5);
    if (conn === undefined) return;
    this.#report.rude++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#random() * 50);
    });
    await Promise.race([this.#over.promise, enough]);
    clearTimeout(timer);
  }

  async #leave(): Promise<void> {
    using conn = await this.#connect();
    this.#report.rude++;
    await conn?.write(new Uint8Array(10)).catch(() => {});
  }

  #resets(): Promise<void> {
    const closed = Promise.withResolvers<void>();
    const client = net.connect(this.#socket.addr.port, "127.0.0.1");
    const speaks = this.#random() < 0.5;
    client.once("connect", () => {
      this.#connected++;
      this.#report.rude++;
      if (speaks) client.write("some", () => client.resetAndDestroy());
      else client.resetAndDestroy();
    });
    client.once("error", () => {});
    client.once("close", () => closed.resolve());
    return closed.promise;
  }

  /** What has to hold at the end, whatever happened. */
  #check(orderly: boolean, { aborted: cut }: ShutdownResult): void {
    const { stats, state, holds } = this.#listener;
    const { accepted, rejected, aborted, acceptErrors } = stats;
    const { active, parked, waiting } = stats;
    assertEquals({ state, holds, active, parked, waiting }, {
      state: "closed",
      holds: [],
      active: 0,
      parked: 0,
      waiting: 0,
    });
    // What was parked or waiting is closed at the end.
    const left = this.#left();
    const most = orderly ? 0 : this.#proxied ? this.#connected : 1;
    assert(left >= 0 && left <= most, `${left}`);
    assertEquals(acceptErrors, this.#told);
    // Resets: clients that were rejected before they were read, clients that were cut
    // off, and those that were in the kernel's queue when the listener ended.
    const gone = aborted - this.#socket.injectedAborts;
    const unseen = Math.max(
      0,
      this.#connected - accepted - this.#socket.gone,
    );
    assertLessOrEqual(
      this.#reset,
      rejected + (orderly ? 0 : cut + unseen + left + 1),
    );
    const report = this.#report;
    report.rounds++;
    report.connections += this.#connected;
    report.reset += this.#reset;
    report.delivered += this.#delivered;
    report.rejected += rejected;
    report.aborted += gone;
    report.injected += this.#socket.injected;
    report.cut += cut;
  }
}

async function readAll(conn: Deno.TcpConn): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(100);
  let text = "";
  for (let length; (length = await conn.read(buffer)) !== null;) {
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  return text;
}

function isReset(error: unknown): boolean {
  return isGone(error) || error instanceof Deno.errors.NotConnected;
}

/** The heap's size after a collection, or undefined without --expose-gc. */
function heap(): number | undefined {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) return undefined;
  gc();
  return Deno.memoryUsage().heapUsed;
}

/**
 * Runs rounds, and fails at the first invariant that does not hold.
 *
 * @param seed Decides what is tried.
 * @param progress Called after every round; returns whether to go on.
 */
export async function chaos(
  seed: number,
  progress: (report: ChaosReport) => boolean,
): Promise<ChaosReport> {
  const random = seeded(seed);
  const counts = { answered: 0, closed: 0, reset: 0, refused: 0, rude: 0 };
  const report: ChaosReport = {
    ...{ seed, rounds: 0, connections: 0, ...counts, delivered: 0 },
    ...{ rejected: 0, aborted: 0, injected: 0, cut: 0 },
  };
  // The first round outlasts whatever Deno opens late: half a second after its
  // start it takes descriptors for signals.
  await new Round(random, report).run(1000);
  const open = Deno.build.os === "linux" ? descriptors() : undefined;
  const used = heap();
  const first = report.connections;

  while (progress(report)) {
    await new Round(random, report).run(100 + random() * 400);
    if (open !== undefined) {
      await until(() => descriptors() <= open, "all descriptors are closed");
    }
  }
  const left = heap();
  if (used !== undefined && left !== undefined) {
    report.bytesPerConnection = (left - used) / (report.connections - first);
  }
  return report;
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["help"],
    string: ["seconds", "seed"],
    unknown: (arg) => {
      console.error(`Unknown option: ${arg}`);
      Deno.exit(1);
    },
  });
  if (args.help) return console.log(HELP);
  const seconds = args.seconds === undefined ? undefined : Number(args.seconds);
  const seed = Number(args.seed ?? Math.floor(Math.random() * 2 ** 32));
  if (!(seconds === undefined || seconds > 0) || !(seed >= 0)) {
    console.error("--seconds and --seed take a positive number");
    Deno.exit(1);
  }
  console.log(`seed ${seed}`);

  const start = performance.now();
  const max = seconds === undefined ? CONNECTIONS : seconds;
  const bar = Deno.stderr.isTerminal()
    ? new ProgressBar({
      max,
      clear: true,
      formatter: (bar) =>
        `[${bar.styledTime}] [${bar.progressBar}] ${
          Math.floor(bar.value)
        }/${bar.max}`,
    })
    : undefined;
  let report: ChaosReport;
  try {
    report = await chaos(seed, ({ connections }) => {
      const done = seconds === undefined
        ? connections
        : (performance.now() - start) / 1000;
      if (bar) bar.value = Math.min(done, max);
      return done < max;
    });
  } finally {
    await bar?.stop();
  }
  for (const [name, value] of Object.entries(report)) {
    console.log(`${name.padEnd(20)}${Number(value.toFixed(1))}`);
  }
  const { bytesPerConnection, connections } = report;
  if (bytesPerConnection !== undefined && connections >= CONNECTIONS) {
    assertLessOrEqual(bytesPerConnection, FLAT);
  }
  console.log("Every invariant held.");
}

if (import.meta.main) await main();
