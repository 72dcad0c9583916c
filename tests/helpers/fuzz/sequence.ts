/** A random sequence of what may happen to a listener, and its end. */
import { assert, assertEquals } from "@std/assert";
import { pass, timerCount, turn, turnAll } from "../virtual_time.ts";
import type { FuzzClient } from "./client.ts";
import type { FuzzOwner } from "./owner.ts";
import { FuzzWorld } from "./world.ts";

/** Something that may happen, and how often it does. */
type Action = [weight: number, name: string, act: () => unknown];

/** Lets random things happen, and fails with the seed and all of them if anything is wrong. */
export async function runSequence(seed: number, steps: number): Promise<void> {
  const world = new FuzzWorld(seed);
  try {
    await new Sequence(world).run(steps);
  } catch (error) {
    const happened = world.log.slice(-80).join("\n");
    throw new Error(`Sequence ${seed}: ${error}\n${happened}`, {
      cause: error,
    });
  }
}

class Sequence {
  readonly #world: FuzzWorld;
  #isInHook = false;

  constructor(world: FuzzWorld) {
    this.#world = world;
    world.meddle = (hook) => this.#meddle(hook);
  }

  async run(steps: number): Promise<void> {
    const world = this.#world;
    for (; steps > 0 && world.socket.isOpen; steps--) {
      await (world.choose(2) === 0
        ? this.#do(this.#events(), "")
        : this.#doVerb(""));
      world.check();
      if (world.choose(3) === 0) await world.checkAtRest();
    }
    await new End(world).check();
  }

  /** Does something to the listener from inside a hook. */
  #meddle(hook: string): void {
    const world = this.#world;
    world.check();
    if (world.isHonest || this.#isInHook || world.choose(3) > 0) return;
    this.#isInHook = true;
    for (let count = 1 + world.choose(2); count > 0; count--) {
      this.#doVerb(`  in ${hook}: `);
    }
    this.#isInHook = false;
  }

  #do(actions: Action[], where: string): unknown {
    const { choose, log } = this.#world;
    let at = choose(actions.reduce((sum, [weight]) => sum + weight, 0));
    const [, name, act] = actions.find(([weight]) => (at -= weight) < 0)!;
    log.push(where + name);
    return act();
  }

  #doVerb(where: string): void {
    this.#world.isInVerb = true;
    this.#do(this.#verbs(), where);
    this.#world.isInVerb = false;
    this.#world.check();
  }

  #one<T>(items: Iterable<T>, act: (item: T) => unknown): void {
    const all = [...items];
    if (all.length > 0) act(all[this.#world.choose(all.length)]!);
  }

  #events(): Action[] {
    const world = this.#world;
    const { clients, choose } = world;
    const inside = clients.filter((client) => client.isUndecided);
    const client =
      (of: FuzzClient[], act: (client: FuzzClient) => void) => () =>
        this.#one(of, (one) => {
          world.log.push(`  #${one.conn.number}`);
          act(one);
        });
    return [
      [8, "connect", () => void world.connect()],
      [8, "speak", client(inside, (one) => one.speak(choose))],
      [4, "speak out", client(inside, (one) => one.speakOut())],
      [2, "say", client(clients, (one) => one.speak(choose))],
      [2, "end", client(clients, (one) => one.end())],
      [
        world.isTls ? 4 : 0,
        "shake",
        client(inside, ({ conn }) => conn.shake(choose(3) > 0)),
      ],
      [1, "fail", () => world.fail("EMFILE")],
      [1, "gone", () => world.fail("ECONNABORTED")],
      [4, "a callback ends", () => this.#one(world.owners, endOne)],
      [10, "microtasks", () => this.#microtasks()],
      [3, "time", () => world.pass([1, 20, 100][choose(3)]!)],
    ];
  }

  async #microtasks(): Promise<void> {
    for (let count = this.#world.choose(6); count > 0; count--) {
      await null;
      this.#world.check();
    }
  }

  #verbs(): Action[] {
    const { owner } = this.#world;
    return owner === undefined
      ? this.#ownerlessVerbs()
      : [...this.#verbsOf(owner), ...this.#endings(owner)];
  }

  #verbsOf(owner: FuzzOwner): Action[] {
    const world = this.#world;
    const { listener, holds } = owner;
    const one = <T>(...of: T[]) => of[world.choose(of.length)]!;
    return [
      [3, "pause", () => listener.pause()],
      [6, "resume", () => listener.resume()],
      [2, "hold", () => void holds.push(listener.hold(one("a", "b")))],
      [4, "dispose of a hold", () => holds.pop()?.[Symbol.dispose]()],
      [4, "a callback", () => owner.setCallback(true)],
      [3, "no callback", () => owner.setCallback(false)],
      [4, "accept", () => void this.#accept(owner, false)],
      [3, "next", () => void this.#accept(owner, true)],
      [2, "limit", () => listener.maxConnections = one(1, 2, 3, Infinity)],
      [2, "limit peers", () => this.#limitPeers(owner, one(1, 2, Infinity))],
      [1, "ref", () => this.#ref(owner, true)],
      [1, "unref", () => this.#ref(owner, false)],
      [2, "free", () => this.#free(owner)],
      [5, "detach and adopt", () => this.#handOn(owner)],
      [4, "detach", () => world.detach(owner, () => listener.detach())],
      [1, "a former owner", () => this.#one(world.owners, useless)],
    ];
  }

  /** None of them often: the sequence ends with it. */
  #endings({ listener }: FuzzOwner): Action[] {
    const { choose } = this.#world;
    if (choose(12) > 0) return [];
    const timeout = [0, 100, Infinity][choose(3)]!;
    const drainBacklog = choose(4) > 0;
    return [
      [1, "close", () => void listener.close()],
      [2, "shutdown", () => void listener.shutdown({ timeout, drainBacklog })],
      [1, "return", () => void listener[Symbol.asyncIterator]().return!()],
    ];
  }

  #ownerlessVerbs(): Action[] {
    const world = this.#world;
    const { detached, isRaw, askers } = world;
    // Nobody sees that the stand-in itself was asked: the next owner would be refused.
    const isBusy = isRaw && askers > 0;
    return [
      [2, "nothing", () => {}],
      [4, "adopt", () => isBusy || world.adopt(detached!)],
      [4, "ask", () => isBusy || void world.ask()],
      [1, "ref the socket", () => isRaw || this.#refDetached(true)],
      [1, "unref the socket", () => isRaw || this.#refDetached(false)],
    ];
  }

  // Verbs

  async #accept(owner: FuzzOwner, isLoop: boolean): Promise<void> {
    const { listener } = owner;
    const next = async () =>
      (await listener[Symbol.asyncIterator]().next()).value;
    const ask = isLoop ? next : () => listener.accept().catch(() => undefined);
    this.#world.deliver(await owner.accept(ask), owner);
  }

  #limitPeers(owner: FuzzOwner, max: number): void {
    owner.mostPerPeer = Math.max(owner.mostPerPeer, max);
    owner.listener.maxConnectionsPerPeer = max;
  }

  #ref(owner: FuzzOwner, isRefed: boolean): void {
    owner.isRefed = isRefed;
    if (isRefed) owner.listener.ref();
    else owner.listener.unref();
  }

  #refDetached(isRefed: boolean): void {
    const world = this.#world;
    world.isRefed = isRefed;
    if (isRefed) world.detached!.ref();
    else world.detached!.unref();
  }

  #free(owner: FuzzOwner): void {
    if (owner.closesOnFree) return owner.listener.free();
    this.#world.detach(owner, () => {
      owner.listener.free();
      return owner.listener.socket;
    });
  }

  #handOn(owner: FuzzOwner): void {
    const world = this.#world;
    world.detach(owner, () => owner.listener.detach());
    if (world.owner === undefined) world.adopt(world.detached!);
  }
}

/** Lets a callback end. */
function endOne({ serving }: FuzzOwner): void {
  for (const [client, end] of serving) {
    serving.delete(client);
    return end();
  }
}

/** What a listener that has ended does nothing for. */
function useless({ listener, isDetached }: FuzzOwner): void {
  if (!isDetached) return;
  listener.resume();
  listener.pause();
  listener.maxConnections = 1;
  listener.hold("late")[Symbol.dispose]();
  listener.accept().catch(() => {});
}

/** The end of a sequence: everything comes to one, and nothing is left. */
class End {
  readonly #world: FuzzWorld;

  constructor(world: FuzzWorld) {
    this.#world = world;
  }

  async check(): Promise<void> {
    const world = this.#world;
    world.isHonest = true;
    world.log.push("-- the end");
    await world.checkAtRest();
    if (world.socket.isOpen) await this.#serve();
    await this.#close();
  }

  /** Whoever has the socket serves all who come. */
  async #serve(): Promise<void> {
    const world = this.#world;
    if (world.owner === undefined) {
      if (world.isRaw) await this.#bringFor(() => world.askers);
      if (world.socket.isOpen) world.adopt(world.detached!);
    }
    const owner = world.owner!;
    const { listener } = owner;
    if (listener.state === "draining") return;
    for (const hold of owner.holds) hold[Symbol.dispose]();
    listener.resume();
    listener.maxConnections = listener.maxConnectionsPerPeer = Infinity;
    owner.mostPerPeer = Infinity;
    await this.#bringFor(() => owner.waiters);
    owner.setCallback(true);
    await pass(2000);
    for (const client of world.clients) client.speakOut();
    await world.checkAtRest();
    const last = world.connect(true);
    await pass(1);
    last.speakOut();
    await pass(100);
    assertEquals(last.deliveries, 1, "the last owner does not hear");
    assertEquals(world.socket.queued, 0, "some are not accepted");
    await world.checkAtRest();
    const { waiting, parked } = listener.stats;
    assertEquals([waiting, parked], [0, 0], "some are inside");
  }

  /** Lets clients come until nobody waits for one. */
  async #bringFor(count: () => number): Promise<void> {
    for (let i = 0; i < 40 && count() > 0; i++) {
      const client = this.#world.connect(true);
      await pass(1);
      client.speakOut();
      await pass(1200); // a failure may come first
    }
    assertEquals(count(), 0, "some that ask do not hear");
  }

  async #close(): Promise<void> {
    const { owner, owners, clients, detached } = this.#world;
    if (owner !== undefined) owner.listener.close();
    else if (this.#world.socket.isOpen) detached!.close();
    for (const { serving } of owners) {
      for (const end of serving.values()) end();
      serving.clear();
    }
    await turnAll();
    await pass(2000);
    for (const client of clients) {
      client.check();
      const { isAccepted, deliveries, conn } = client;
      assert(!client.isIdling || !conn.isReading, "idle, and not closed");
      if (deliveries > 0) conn[Symbol.dispose]();
      else if (isAccepted) assert(!conn.isOpen, "left open");
    }
    await pass(2000);
    for (const one of owners) {
      one.checkAtRest();
      assertEquals(one.waiters, 0, "still waiting");
      assert(one.isFinished, "not finished");
    }
    assertEquals(this.#world.askers, 0, "still asking");
    await turn();
    assertEquals(timerCount(), 0, "timers are left");
  }
}
