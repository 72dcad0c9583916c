/** A socket, its clients and its owners, to which random things happen. */
import { assert, assertEquals } from "@std/assert";
import type { RejectReason } from "@evconn/listener";
import { random } from "../proxy_headers.ts";
import { ScriptedConn, ScriptedSocket, TlsListener } from "../scripted.ts";
import { pass, timerCount, turn } from "../virtual_time.ts";
import { type Choose, FuzzClient } from "./client.ts";
import { FuzzOwner, type Hooks } from "./owner.ts";

/** A failure to accept, and whether the accept was begun for somebody who asks. */
class Failure extends Error {
  readonly code: string;
  wasAskedFor = false;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

const nameOf = (conn: Deno.Conn) => `#${(conn as ScriptedConn).number}`;

/** What happens in a sequence is chosen by its seed: here is what there is. */
export class FuzzWorld implements Hooks {
  readonly choose: Choose;
  readonly socket: ScriptedSocket;
  readonly isTls: boolean;
  /** Whether nothing is looked at, so that the order of the connections is known. */
  readonly isPlain: boolean;
  readonly clients: FuzzClient[] = [];
  readonly owners: FuzzOwner[] = [];
  /** The one that has not ended. */
  owner: FuzzOwner | undefined;
  /** The socket, while nobody owns it. */
  detached: Deno.Listener | undefined;
  /** Whether the socket is to keep the process alive, while nobody owns it. */
  isRefed = true;
  /** Calls of `accept()` of what was detached that are pending. */
  askers = 0;
  /** What a hook does beside its answer. */
  meddle: (hook: string) => void = () => {};
  /** Whether a verb has not returned yet. */
  isInVerb = false;
  #last = 0; // the number of the connection that a callback got last
  /** Whether hooks always answer yes, and callbacks go on. */
  isHonest = false;
  readonly log: string[] = [];
  #isAskedFor = false; // the last accept
  #isAdopting = false;
  #settled = 0; // accepts that have brought a connection
  /** How things were when they were looked at last. */
  #before = { accepting: true, accepted: 0, settled: 0 };
  #wasEmptyFor: FuzzOwner | undefined; // the owner when nothing was undelivered
  #fault: unknown; // that was seen in a hook, which the listener may call as it likes

  constructor(seed: number) {
    const next = random(seed);
    for (let i = 0; i < 20; i++) next(2); // small seeds begin alike
    this.choose = next;
    this.isTls = next(6) === 0;
    this.isPlain = next(4) === 0;
    const Socket = this.isTls ? TlsListener : ScriptedSocket;
    this.socket = new Socket(() => next(4));
    this.socket.onSettle = (outcome, settle) => this.#onSettle(outcome, settle);
    this.socket.onAccept = () => this.#look(() => this.#onAccept());
    this.adopt(this.socket);
  }

  #onAccept(): void {
    this.#isAskedFor = this.askers > 0 && this.owner === undefined &&
      !this.#isAdopting;
    const parked = this.owner?.listener.stats.parked ?? 0;
    assertEquals(parked, 0, "accepting, and somebody is ready");
  }

  #onSettle(outcome: ScriptedConn | Error, settle: () => void): void {
    const what = outcome instanceof Error ? outcome.message : nameOf(outcome);
    this.log.push(`  accept: ${what}`);
    if (outcome instanceof ScriptedConn) {
      this.#clientOf(outcome).isAccepted = true;
      queueMicrotask(() => this.#settled++); // just before the owner is told
      return settle();
    }
    (outcome as Failure).wasAskedFor = this.#isAskedFor;
    if (outcome.message !== "ECONNABORTED") return settle();
    // Whether anybody is told that a client was gone is seen one microtask later.
    let before: number[] = [];
    const aborted = () =>
      this.owners.map(({ listener }) => listener.stats.aborted);
    queueMicrotask(() => before = aborted());
    settle();
    queueMicrotask(() => {
      for (const [i, count] of before.entries()) {
        const owner = this.owners[i]!;
        owner.gone += owner.listener.stats.aborted - count;
      }
    });
  }

  #clientOf(conn: Deno.Conn): FuzzClient {
    return this.clients.find((client) => client.conn === conn)!;
  }

  connect(isGood = false): FuzzClient {
    const port = 1 + this.clients.length;
    const client = new FuzzClient(port, this.choose, isGood);
    this.clients.push(client);
    this.socket.bring(client.conn);
    return client;
  }

  /** A failed accept, or a client that is gone before it is accepted. */
  fail(code: "EMFILE" | "ECONNABORTED"): void {
    this.socket.bring(new Failure(code));
  }

  // Hooks

  /** Looks at something in a hook: what it throws must not be the listener's to deal with. */
  #look(at: () => void): void {
    try {
      at();
    } catch (fault) {
      this.#fault ??= fault;
    }
  }

  /** Does something from inside a hook, and looks. */
  #inHook(hook: string): void {
    this.#look(() => this.meddle(hook));
  }

  onDelivery(conn: Deno.Conn, owner: FuzzOwner): unknown {
    const client = this.#clientOf(conn);
    const kind = this.isHonest ? 0 : this.choose(8);
    const isOurs = kind < 2; // to close
    this.log.push(`  delivered: ${nameOf(conn)}`);
    this.#look(() => {
      this.#checkLimits(owner, conn);
      assert(!this.isInVerb, "delivered from inside a verb");
      this.#checkOrder(conn);
      client.onDelivery(!isOurs, owner.isIdling);
    });
    const pending = Promise.withResolvers<void>();
    if (kind > 4) owner.serving.set(client, pending.resolve);
    this.#inHook("callback");
    if (isOurs) return;
    if (kind === 2) throw new Error("in a callback");
    if (kind === 3) return Promise.reject(new Error("in a callback"));
    if (kind === 4) return Promise.resolve();
    return pending.promise;
  }

  /** Only for callbacks: what a promise brings is seen later. */
  #checkOrder(conn: Deno.Conn): void {
    const { number } = conn as ScriptedConn;
    if (this.isPlain) assert(number > this.#last, `#${this.#last} was first`);
    this.#last = number;
  }

  #checkLimits({ listener, serving, mostPerPeer }: FuzzOwner, conn: Deno.Conn) {
    const { active } = listener.stats;
    const { maxConnections } = listener;
    assert(active < maxConnections, `${active} active, and one more`);
    const isSame = ({ conn: other }: FuzzClient) =>
      other.remoteAddr.hostname === (conn.remoteAddr as Deno.NetAddr).hostname;
    const count = [...serving.keys()].filter(isSame).length;
    assert(count < mostPerPeer, `${count} of one peer, and one more`);
  }

  isPassed(): boolean {
    this.#inHook("decision");
    const answer = this.isHonest ? 7 : this.choose(8);
    if (answer === 0) throw new Error("in a decision");
    return answer > 2;
  }

  onReject(conn: Deno.Conn, why: RejectReason, owner: FuzzOwner): unknown {
    this.log.push(`  ${why}: ${nameOf(conn)}`);
    this.#look(() => {
      this.#clientOf(conn).onReject();
      this.#checkReason(why, owner);
    });
    this.#inHook("onReject");
    if (this.choose(3) > 0) return;
    return new Promise<void>((resolve) => setTimeout(resolve, 10));
  }

  #checkReason(why: RejectReason, owner: FuzzOwner): void {
    const { active, waiting, parked } = owner.listener.stats;
    const { maxConnections, maxConnectionsPerPeer } = owner.listener;
    const count = active + waiting + parked;
    if (why === "full") assert(count >= maxConnections, `full with ${count}`);
    if (why === "peer") {
      assert(count >= maxConnectionsPerPeer, `peer: ${count}`);
    }
  }

  onError(): void {
    this.#inHook("onError");
  }

  // Owners

  adopt(socket: Deno.Listener): void {
    this.detached = undefined;
    this.#isAdopting = true;
    this.owner = new FuzzOwner(socket, this);
    this.#isAdopting = false;
    this.owners.push(this.owner);
    const options = { callback: this.owner.hasCallback, ...this.owner.options };
    this.log.push(`  ${Deno.inspect(options, { breakLength: 1000 })}`);
  }

  /** Ends an owner that gives the socket back, in one way or another. */
  detach(owner: FuzzOwner, detach: () => Deno.Listener): void {
    if (!this.socket.isOpen || owner.isDetached) return;
    owner.isDetached = true; // before anybody looks
    this.owner = undefined;
    this.isRefed = owner.isRefed;
    this.detached = detach();
  }

  /** Whether what was detached is the stand-in itself, of which the library sees nothing. */
  get isRaw(): boolean {
    return this.detached === this.socket;
  }

  async ask(): Promise<void> {
    this.askers++;
    try {
      this.deliver(await this.detached!.accept(), undefined);
    } catch (error) {
      const isOurs = error instanceof Failure ? error.wasAskedFor : true;
      this.#look(() => assert(isOurs, "told a failure of another's accept"));
    } finally {
      this.askers--;
    }
  }

  /** One that somebody has asked for is there. */
  deliver(conn: Deno.Conn | undefined, owner: FuzzOwner | undefined): void {
    if (conn !== undefined) {
      this.log.push(`  given: ${nameOf(conn)}`);
      const client = this.#clientOf(conn);
      this.#look(() => client.onDelivery(false, owner?.isIdling ?? false));
    }
  }

  /** Lets time go by. */
  async pass(ms: number): Promise<void> {
    await pass(ms);
    this.#before.accepting = true; // perhaps, meanwhile
  }

  // What has to hold

  /** At any moment. */
  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
    for (const owner of this.owners) owner.check();
    assertEquals(this.socket.busy, 0, "two accepts at once");
    this.#checkPull();
  }

  /** While an owner wants nothing, it gets at most what the accept in flight brings. */
  #checkPull(): void {
    const before = this.#before;
    const { owner } = this;
    const now = {
      accepting: this.isHonest || (owner?.isTaking ?? true),
      accepted: owner?.listener.stats.accepted ?? 0,
      settled: this.#settled,
    };
    this.#before = now;
    if (before.accepting || now.accepting) return;
    const isPushed =
      now.accepted - before.accepted > now.settled - before.settled;
    assert(!isPushed, "given to an owner that does not want it");
  }

  /** When no microtask is left. */
  async checkAtRest(): Promise<void> {
    await turn();
    this.#before.accepting = true; // perhaps, meanwhile
    this.check();
    for (const owner of this.owners) owner.checkAtRest();
    for (const client of this.clients) client.check();
    if (!this.socket.isOpen) return;
    const { owner } = this;
    const undelivered = this.#undelivered();
    assert(undelivered >= 0, `${-undelivered} more inside than there are`);
    // What comes while there is an owner is that owner's to look at.
    if (owner !== undefined && this.#wasEmptyFor === owner) {
      assertEquals(undelivered, 0, "came, and is kept from its owner");
    }
    this.#wasEmptyFor = undelivered === 0 ? owner : undefined;
    if (owner === undefined) this.#checkOwnerless(undelivered);
    else if (owner.listener.state !== "draining") {
      this.#checkOwned(owner, undelivered);
    }
  }

  /** How many were accepted and are with no owner. */
  #undelivered(): number {
    let count = this.clients.filter(({ isInside }) => isInside).length;
    for (const { listener } of this.owners) {
      const { waiting, parked } = listener.stats;
      count -= waiting + parked;
    }
    return count;
  }

  #checkOwnerless(undelivered: number): void {
    const { socket, askers, isRaw } = this;
    if (askers > 0) {
      assert(socket.isPending, "nobody is accepted, for those that ask");
      assertEquals(undelivered, 0, "kept from those that ask");
    }
    if (isRaw) return;
    const isAlive = this.isRefed && askers > 0;
    if (socket.isPending) assertEquals(socket.isRefed, isAlive, "refed");
    this.#checkRefs(false);
  }

  #checkOwned(owner: FuzzOwner, undelivered: number): void {
    const { socket } = this;
    const { holds, stats, maxConnections } = owner.listener;
    if (holds.includes("backoff")) assert(timerCount() > 0, "no end of it");
    if (owner.isTaking && holds.length === 0) {
      if (stats.parked > 0) {
        assert(stats.active >= maxConnections, "parked, and nothing stops it");
      } else {
        assertEquals(undelivered, 0, "kept from its owner");
        assert(socket.isPending, "nobody is accepted");
      }
    }
    const isAlive = owner.isRefed && owner.isTaking;
    if (socket.isPending) assertEquals(socket.isRefed, isAlive, "refed");
    // Nobody waits for what is read from those that are parked.
    const isMixed = undelivered > 0 || isAlive && stats.parked > 0;
    this.#checkRefs(isMixed ? undefined : isAlive);
  }

  /** Whether reads keep the process alive: those that are inside, and those that are delivered. */
  #checkRefs(isAlive: boolean | undefined): void {
    for (const { conn, isInside, deliveries } of this.clients) {
      if (!conn.isReading) continue;
      if (isInside && isAlive !== undefined) {
        assertEquals(conn.isRefed, isAlive, "refed inside");
      }
      if (deliveries > 0) assert(conn.isRefed, "delivered, and not refed");
    }
  }
}
