/** Demand, holds and parking, around a plain socket: internal/accept/acceptor.ts. */
import { assertEquals } from "@std/assert";
import {
  Acceptor,
  type AcceptorOwner,
} from "../../internal/accept/acceptor.ts";
import { BACKOFF, FULL } from "../../internal/accept/holds.ts";
import type { Check, Refusal } from "../../internal/accept/pipeline.ts";
import { Socket } from "../../internal/accept/socket.ts";
import type { ConnState } from "../../internal/conn/conn_state.ts";
import { stateOf } from "../../internal/conn/front.ts";
import {
  connect,
  connectAll,
  isClosed,
  turns,
  until,
} from "../helpers/clients.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const port = (client: Deno.TcpConn) => client.localAddr.port;
const portOf = ({ conn }: ConnState) => (conn.remoteAddr as Deno.NetAddr).port;
const LONG = 60_000;

/** Has an acceptor: keeps what it is given and told, and closes all of it. */
class Service implements AcceptorOwner, Disposable {
  readonly socket: Socket;
  readonly acceptor: Acceptor;
  readonly delivered: ConnState[] = [];
  readonly refused: [ConnState, Refusal][] = [];
  readonly failures: { error: unknown; isFirst: boolean; holds: string[] }[] =
    [];
  accepted = 0;
  began = 0; // to wait
  gone = 0;
  dropped = 0;
  closed = 0;
  /** How many accepts of Deno's are in flight, and were at the most. */
  inFlight = 0;
  most = 0;
  isAlive: boolean | undefined;
  hasRoom = true;
  #demand = 0;
  onDeliver = (_state: ConnState) => {};

  constructor(
    checks: Check[] = [],
    inner: Deno.Listener = Deno.listen(LOCAL),
  ) {
    this.#watch(inner);
    this.socket = new Socket(inner, "tcp");
    this.acceptor = new Acceptor(this.socket, this, checks, LONG);
  }

  #watch(inner: Deno.Listener): void {
    const { accept, ref, unref } = inner;
    inner.accept = () => {
      this.most = Math.max(this.most, ++this.inFlight);
      return accept.call(inner).finally(() => this.inFlight--);
    };
    inner.ref = () => {
      this.isAlive = true;
      ref.call(inner);
    };
    inner.unref = () => {
      this.isAlive = false;
      unref.call(inner);
    };
  }

  get addr(): Deno.NetAddr {
    return this.socket.addr as Deno.NetAddr;
  }

  /** The clients of what it was given, in order. */
  get ports(): number[] {
    return this.delivered.map(portOf);
  }

  /** Wants so many connections more. */
  want(count = Infinity): void {
    this.#demand += count;
    this.acceptor.update();
  }

  get hasDemand(): boolean {
    return this.#demand > 0;
  }

  onAccepted(): number {
    return ++this.accepted;
  }

  deliver(state: ConnState): void {
    this.#demand--;
    this.delivered.push(state);
    this.onDeliver(state);
  }

  refuse(state: ConnState, why: Refusal): void {
    this.refused.push([state, why]);
    state.conn[Symbol.dispose]();
  }

  onWaiting(): void {
    this.began++;
  }

  onDropped(count: number): void {
    this.dropped += count;
  }

  onGone(): void {
    this.gone++;
  }

  onFailure(error: unknown, isFirst: boolean): void {
    this.failures.push({ error, isFirst, holds: this.acceptor.holds.list });
  }

  onClosed(): void {
    this.closed++;
    this.acceptor.stop();
  }

  [Symbol.dispose](): void {
    for (const { conn } of [...this.acceptor.stop(), ...this.delivered]) {
      conn[Symbol.dispose]();
    }
    this.socket.release();
  }
}

Deno.test("update() accepts only while there is demand", async () => {
  using service = new Service();
  const clients = await connectAll(service, 3);
  service.acceptor.update();
  await turns();
  assertEquals([service.inFlight, service.delivered.length], [0, 0]);
  service.want(2);
  await until(() => service.delivered.length === 2);
  await turns();
  assertEquals([service.inFlight, service.delivered.length], [0, 2]);
  service.want(1);
  await until(() => service.delivered.length === 3);
  assertEquals(service.ports, clients.map(port));
  assertEquals(service.accepted, 3);
  closeAll(clients);
});

Deno.test("update() has one accept in flight, however often it is called", async () => {
  using service = new Service();
  service.want();
  service.want();
  service.acceptor.update();
  assertEquals(service.inFlight, 1);
  const clients = await connectAll(service, 20);
  await until(() => service.delivered.length === 20);
  assertEquals(service.ports, clients.map(port));
  assertEquals([service.inFlight, service.most], [1, 1]);
  closeAll(clients);
});

Deno.test("the next accept begins in the same microtask as a delivery", async () => {
  using service = new Service();
  const begun: number[] = [];
  service.onDeliver = () => {
    const { accepts } = service.socket;
    // Before any microtask that is queued now.
    queueMicrotask(() => begun.push(service.socket.accepts - accepts));
  };
  service.want();
  const clients = await connectAll(service, 3);
  await until(() => begun.length === 3);
  assertEquals(begun, [1, 1, 1]);
  closeAll(clients);
});

Deno.test("release() lets accepting go on only when no hold is left", async () => {
  using service = new Service();
  const { acceptor } = service;
  acceptor.hold("one");
  acceptor.hold("two");
  acceptor.hold("one");
  service.want();
  using client = await connect(service);
  assertEquals(acceptor.holds.list, ["one", "two"]); // as they began
  acceptor.release("one");
  await turns();
  assertEquals([acceptor.holds.any, service.delivered.length], [true, 0]);
  acceptor.release("two");
  assertEquals(acceptor.holds.any, false);
  await until(() => service.delivered.length === 1);
  assertEquals(service.ports, [port(client)]);
});

Deno.test("addHold() holds until it is disposed of, however often that is, and not beyond the end", () => {
  using service = new Service();
  const { acceptor } = service;
  const holds = [acceptor.addHold("mine"), acceptor.addHold("mine")];
  holds[0]![Symbol.dispose]();
  holds[0]![Symbol.dispose]();
  assertEquals(acceptor.holds.list, ["mine"]);
  holds[1]![Symbol.dispose]();
  assertEquals(acceptor.holds.list, []);
  acceptor.stop();
  acceptor.addHold("mine")[Symbol.dispose]();
  assertEquals(acceptor.holds.list, []);
});

Deno.test("hold() while a connection is delivered keeps the next from being delivered", async () => {
  using service = new Service();
  const clients = await connectAll(service, 3);
  service.onDeliver = () => service.acceptor.hold("enough");
  service.want();
  await until(() => service.delivered.length === 1);
  await turns();
  assertEquals([service.delivered.length, service.inFlight], [1, 0]);
  closeAll(clients);
});

for (
  const [what, stop, goOn] of [
    [
      "hold()",
      ({ acceptor }: Service) => acceptor.hold("mine"),
      ({ acceptor }: Service) => acceptor.release("mine"),
    ],
    [
      "the end of demand",
      (service: Service) => service.want(-1),
      (service: Service) => service.want(1),
    ],
  ] as const
) {
  Deno.test(`${what} parks the connection of the accept in flight, and it is delivered first`, async () => {
    using service = new Service();
    service.want(1);
    await turns(); // an accept is in flight
    stop(service);
    const clients = await connectAll(service, 2);
    await until(() => service.acceptor.parked === 1);
    await turns();
    assertEquals([service.inFlight, service.delivered.length], [0, 0]);
    goOn(service);
    assertEquals(service.delivered.length, 0); // never from inside
    await until(() => service.delivered.length === 1);
    service.want(1);
    await until(() => service.delivered.length === 2);
    assertEquals(service.ports, clients.map(port));
    assertEquals([service.acceptor.parked, service.accepted], [0, 2]);
    closeAll(clients);
  });
}

Deno.test("hold() and release() in one turn leave the accept in flight alone", async () => {
  using service = new Service();
  service.want(1);
  await turns();
  service.acceptor.hold("mine");
  service.acceptor.release("mine");
  using client = await connect(service);
  await until(() => service.delivered.length === 1);
  assertEquals([service.ports, service.most], [[port(client)], 1]);
});

Deno.test("delivers and isAccepting say what demand and holds let in", () => {
  using service = new Service();
  const { acceptor } = service;
  const seen: string[] = [];
  const look = (change: () => void) => {
    change();
    seen.push(
      acceptor.isAccepting ? "new ones" : acceptor.delivers ? "ready ones" : "",
    );
  };
  look(() => acceptor.update());
  look(() => service.want());
  look(() => acceptor.hold(FULL));
  look(() => acceptor.hold(BACKOFF));
  look(() => acceptor.hold("mine"));
  look(() => acceptor.release(FULL));
  look(() => acceptor.release("mine"));
  look(() => acceptor.release(BACKOFF));
  look(() => acceptor.stop());
  assertEquals(seen, [
    "",
    "new ones",
    "ready ones",
    "ready ones",
    "",
    "",
    "ready ones",
    "new ones",
    "",
  ]);
});

/** Connections wait in it until a test says how they are. */
class Waiting {
  readonly #outcomes = new Map<number, true | Refusal>();
  readonly #states: ConnState[] = [];

  readonly check: Check = (state) => {
    if (!this.#states.includes(state)) this.#states.push(state);
    return this.#outcomes.get(portOf(state));
  };

  end(client: Deno.TcpConn, outcome: true | Refusal = true): void {
    this.#outcomes.set(port(client), outcome);
    const state = this.#states.find((state) => portOf(state) === port(client))!;
    state.onCome?.(state);
  }
}

Deno.test("a hold that passes delivers those that are ready, and lets nobody in", async () => {
  const waiting = new Waiting();
  using service = new Service([waiting.check]);
  service.want();
  const clients = await connectAll(service, 2);
  await until(() => service.began === 2);
  service.acceptor.hold(FULL);
  clients.push(...await connectAll(service, 2)); // one for the accept in flight
  await until(() => service.began === 3);
  await turns();
  waiting.end(clients[1]!);
  await until(() => service.delivered.length === 1);
  await turns();
  assertEquals(service.ports, [port(clients[1]!)]);
  assertEquals([service.accepted, service.acceptor.waiting], [3, 2]);
  closeAll(clients);
});

Deno.test("those that are ready first are delivered first, and what was held in that order", async () => {
  const waiting = new Waiting();
  using service = new Service([waiting.check]);
  service.want();
  const clients = await connectAll(service, 4);
  await until(() => service.began === 4);
  waiting.end(clients[3]!);
  await until(() => service.delivered.length === 1);
  service.acceptor.hold("mine");
  for (const i of [1, 2, 0]) waiting.end(clients[i]!);
  assertEquals([service.acceptor.parked, service.acceptor.waiting], [3, 0]);
  service.acceptor.release("mine");
  assertEquals(service.delivered.length, 1); // never from inside
  await until(() => service.delivered.length === 4);
  assertEquals(service.ports, [3, 1, 2, 0].map((i) => port(clients[i]!)));
  closeAll(clients);
});

Deno.test("those that are ready are delivered one a microtask, while there is room", async () => {
  const waiting = new Waiting();
  using service = new Service([waiting.check]);
  service.want();
  const clients = await connectAll(service, 3);
  await until(() => service.began === 3);
  service.hasRoom = false;
  for (const client of clients) waiting.end(client);
  await turns();
  assertEquals([service.delivered.length, service.acceptor.parked], [0, 3]);
  service.hasRoom = true;
  service.acceptor.update();
  for (let i = 0; i < 3; i++) {
    assertEquals(service.delivered.length, i);
    await Promise.resolve();
  }
  assertEquals(service.delivered.length, 3);
  closeAll(clients);
});

Deno.test("no accept begins while a connection is ready and not delivered", async () => {
  using service = new Service();
  service.want(1);
  await turns();
  service.acceptor.hold("mine");
  const clients = await connectAll(service, 2);
  await until(() => service.acceptor.parked === 1);
  service.hasRoom = false;
  service.acceptor.release("mine");
  await turns();
  assertEquals([service.inFlight, service.acceptor.parked], [0, 1]);
  closeAll(clients);
});

Deno.test("one that is refused is not delivered, and accepting goes on", async () => {
  const outcomes: (true | Refusal)[] = [true, false, "full", true];
  using service: Service = new Service([() => outcomes[service.accepted - 1]]);
  service.want();
  const clients = await connectAll(service, 4);
  await until(() => service.delivered.length === 2);
  assertEquals(service.ports, [clients[0]!, clients[3]!].map(port));
  assertEquals(
    service.refused.map(([state, why]) => [state.order, why]),
    [[2, false], [3, "full"]],
  );
  for (const client of clients.slice(1, 3)) await isClosed(client);
  closeAll(clients);
});

Deno.test("one is refused in a hold, too, and no second one until it is over", async () => {
  using service = new Service([() => "full"]);
  service.want();
  await turns(); // an accept is in flight
  service.acceptor.hold("mine");
  const clients = await connectAll(service, 3);
  await until(() => service.refused.length === 1);
  await turns();
  assertEquals([service.refused.length, service.inFlight], [1, 0]);
  service.acceptor.release("mine");
  await until(() => service.refused.length === 3);
  closeAll(clients);
});

Deno.test("a failed accept is told during the wait, and tried again after it", async () => {
  const error = osError("EMFILE");
  using service = new Service(
    [],
    new StandIn((call) => [0, 1, 3].includes(call) ? error : undefined),
  );
  const clients = await connectAll(service, 2);
  service.want();
  await until(() => service.delivered.length === 2);
  const told = (isFirst: boolean) => ({ error, isFirst, holds: [BACKOFF] });
  // A success between them makes the next one the first again.
  assertEquals(service.failures, [told(true), told(false), told(true)]);
  assertEquals(service.acceptor.holds.list, []);
  closeAll(clients);
});

Deno.test("retry() tries at once", async () => {
  const socket = new StandIn((call) =>
    call < 9 ? osError("EMFILE") : undefined
  );
  using service = new Service([], socket);
  service.want();
  // The next wait is 640 ms, which a busy machine does not miss.
  await until(() => socket.calls === 8 && service.acceptor.holds.any);
  service.acceptor.retry();
  assertEquals([socket.calls, service.acceptor.holds.list], [9, []]);
  await until(() => socket.calls === 10);
  assertEquals(service.acceptor.holds.list, []);
});

Deno.test("clients that are gone are tried again at once, but not for ever", async () => {
  const socket = new StandIn(() => osError("ECONNABORTED"));
  using service = new Service([], socket);
  service.want();
  await until(() => service.acceptor.holds.any);
  assertEquals(service.acceptor.holds.list, [BACKOFF]);
  assertEquals([socket.calls, service.gone], [256, 256]);
  await until(() => socket.calls >= 512);
  assertEquals(service.failures, []);
});

Deno.test("a socket that the program has closed is told once, and is not tried again", async () => {
  using service = new Service();
  service.want();
  service.socket.listener.close();
  await until(() => service.closed > 0);
  await turns();
  assertEquals([service.closed, service.inFlight, service.most], [1, 0, 1]);
  assertEquals(service.failures, []);
});

Deno.test("a socket that the program has closed is told when nobody is inside any more, and is not tried meanwhile", async () => {
  const waiting = new Waiting();
  using service = new Service([waiting.check]);
  service.want();
  const clients = await connectAll(service, 2);
  await until(() => service.began === 2);
  const { accepts } = service.socket;
  service.socket.listener.close();
  await turns();
  waiting.end(clients[0]!);
  await until(() => service.delivered.length === 1);
  await turns();
  assertEquals([service.closed, service.socket.accepts], [0, accepts]);
  waiting.end(clients[1]!, false);
  assertEquals([service.closed, service.refused.length], [1, 1]);
  closeAll(clients);
});

Deno.test("stop() gives what is parked, and ends for good", async () => {
  using service = new Service();
  const { acceptor } = service;
  service.want();
  await turns();
  acceptor.hold("mine");
  using client = await connect(service);
  await until(() => acceptor.parked === 1);
  const [parked, ...others] = acceptor.stop();
  assertEquals([portOf(parked!), others], [port(client), []]);
  parked!.conn.close();
  assertEquals(await isClosed(client), true);
  assertEquals([acceptor.parked, acceptor.holds.list], [0, []]);
  acceptor.hold("another");
  acceptor.update();
  assertEquals([acceptor.holds.list, service.inFlight], [[], 0]);
});

Deno.test("stop() gives those that are ready first, and then those that are not as they came", async () => {
  const waiting = new Waiting();
  using service = new Service([waiting.check]);
  service.want();
  const clients = await connectAll(service, 5);
  await until(() => service.began === 5);
  service.acceptor.hold("mine");
  for (const i of [3, 1]) waiting.end(clients[i]!);
  const back = service.acceptor.stop();
  assertEquals(back.map(portOf), [3, 1, 0, 2, 4].map((i) => port(clients[i]!)));
  waiting.end(clients[0]!); // which is not the acceptor's any more
  await turns();
  assertEquals([service.delivered, service.acceptor.waiting], [[], 0]);
  for (const { conn } of back) conn.close();
  closeAll(clients);
});

Deno.test("what the accept in flight brings after stop() goes to the socket", async () => {
  using service = new Service();
  service.want();
  await turns();
  assertEquals(service.acceptor.stop(), []);
  using client = await connect(service);
  service.socket.disown([], true);
  using conn = await service.socket.ask();
  assertEquals(portOf(stateOf(conn)), port(client));
  assertEquals([service.delivered.length, service.accepted], [0, 0]);
});

Deno.test("stop() while a connection is asked about leaves it to the socket by its answer", async () => {
  using service: Service = new Service([() => {
    assertEquals(service.acceptor.stop(), []);
    assertEquals(service.acceptor.isChecking, true);
    service.socket.disown([], true);
    return true;
  }]);
  service.want();
  using client = await connect(service);
  await until(() => service.socket.hasUndelivered && service.accepted === 1);
  using conn = await service.socket.ask();
  assertEquals(portOf(stateOf(conn)), port(client));
  assertEquals([service.delivered, service.acceptor.isChecking], [[], false]);
});

Deno.test("stop() and the end of the socket while a connection is asked about close it, and count it", async () => {
  using service: Service = new Service([() => {
    service.acceptor.stop();
    service.socket.release();
    return true;
  }]);
  service.want();
  using client = await connect(service);
  assertEquals(await isClosed(client), true);
  assertEquals([service.accepted, service.dropped], [1, 1]);
});

Deno.test("stop() during the wait after a failure leaves no timer", async () => {
  const socket = new StandIn(() => osError("EMFILE"));
  using service = new Service([], socket);
  service.want();
  await until(() => socket.calls >= 3);
  const { calls } = socket;
  assertEquals(service.acceptor.stop(), []);
  assertEquals(service.acceptor.holds.list, []);
  await turns();
  assertEquals(socket.calls, calls);
});

Deno.test("the socket keeps the process alive while somebody is to be let in", () => {
  using service = new Service();
  const { acceptor } = service;
  const seen: (boolean | undefined)[] = [];
  const look = (change: () => void) => {
    change();
    seen.push(service.isAlive);
  };
  look(() => acceptor.update());
  look(() => service.want());
  look(() => acceptor.hold(FULL));
  look(() => acceptor.hold("mine"));
  look(() => acceptor.release("mine"));
  look(() => acceptor.isRefed = false);
  look(() => acceptor.release(FULL));
  look(() => acceptor.isRefed = true);
  assertEquals(seen, [false, true, true, false, true, false, false, true]);
});

Deno.test("changed() resolves at the next update, for all that wait", async () => {
  using service = new Service();
  const { acceptor } = service;
  for (
    const change of [
      () => acceptor.hold("mine"),
      () => acceptor.release("mine"),
      () => service.want(),
      () => acceptor.stop(),
    ]
  ) {
    let isChanged = false;
    const changed = acceptor.changed().then(() => isChanged = true);
    const too = acceptor.changed();
    await turns(1);
    assertEquals(isChanged, false);
    change();
    await Promise.all([changed, too]);
  }
});
