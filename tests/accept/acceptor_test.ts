/** Demand, holds and parking, around a plain listener: internal/accept/acceptor.ts. */
import { assertEquals } from "@std/assert";
import { Acceptor, type Owner } from "../../internal/accept/acceptor.ts";
import { type Intake, Stage } from "../../internal/accept/stage.ts";
import {
  connect,
  connectAll,
  isClosed,
  turns,
  until,
} from "../helpers/clients.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

type Socket = Deno.Listener<Deno.TcpConn, Deno.NetAddr>;

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const port = (client: Deno.TcpConn) => client.localAddr.port;
const dispose = (conn: Deno.Conn) => conn[Symbol.dispose]();

/** The waits that are asked for until the end of the scope, in ms. They are shorter in fact. */
class Waits implements Disposable {
  readonly #own = globalThis.setTimeout;
  #asked: number[] = [];

  constructor() {
    const own = this.#own;
    const setTimeout = (wake: () => void, ms = 0) => {
      this.#asked.push(ms);
      return own(wake, 1);
    };
    Object.assign(globalThis, { setTimeout });
  }

  /** Those since the last call; shorter ones are the test's own. */
  get asked(): number[] {
    return this.#asked.splice(0).filter((ms) => ms >= 5);
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, { setTimeout: this.#own });
  }
}

/** A stage that keeps what it is told, and how many accepts are in flight. */
class Watched extends Stage<Deno.TcpConn, Deno.NetAddr> {
  readonly intakes: Intake[] = [];
  isAlive: boolean | undefined;
  inFlight = 0;
  most = 0;
  obedient = false;

  override get isObedient(): boolean {
    return this.obedient;
  }

  override accept(): Promise<Deno.TcpConn> {
    this.most = Math.max(this.most, ++this.inFlight);
    return super.accept().finally(() => this.inFlight--);
  }

  override take(intake: Intake): void {
    this.intakes.push(intake);
  }

  override ref(): void {
    this.isAlive = true;
    super.ref();
  }

  override unref(): void {
    this.isAlive = false;
    super.unref();
  }
}

/** Whoever has an acceptor: keeps what it is given and told, and closes all of it. */
class Service implements Owner<Deno.TcpConn>, Disposable {
  readonly stage: Watched;
  readonly acceptor: Acceptor<Deno.TcpConn, Deno.NetAddr>;
  readonly conns: Deno.TcpConn[] = [];
  readonly failures: { error: unknown; isFirst: boolean; holds: string[] }[] =
    [];
  gone = 0;
  closed = 0;
  #demand = 0;
  onTake = () => {};

  constructor(socket: Socket = Deno.listen(LOCAL)) {
    this.stage = new Watched(socket);
    this.acceptor = new Acceptor(this.stage, this);
  }

  get addr(): Deno.NetAddr {
    return this.stage.addr;
  }

  /** The clients of what it was given, in order. */
  get ports(): number[] {
    return this.conns.map((conn) => conn.remoteAddr.port);
  }

  /** Wants so many connections more. */
  want(count = Infinity): void {
    this.#demand += count;
    this.acceptor.update();
  }

  hasDemand(): boolean {
    return this.#demand > 0;
  }

  take(conn: Deno.TcpConn): void {
    this.#demand--;
    this.conns.push(conn);
    this.onTake();
  }

  onGone(): void {
    this.gone++;
  }

  onFailure(error: unknown, isFirst: boolean): void {
    this.failures.push({ error, isFirst, holds: this.acceptor.holds });
  }

  onClosed(): void {
    this.closed++;
    this.acceptor.stop();
  }

  [Symbol.dispose](): void {
    for (const item of this.acceptor.stop()) {
      // One that was given back before is closed already.
      if (item instanceof Promise) item.then(dispose, () => {});
      else dispose(item);
    }
    this.stage[Symbol.dispose]();
    closeAll(this.conns);
  }
}

Deno.test("update() accepts only while there is demand", async () => {
  using service = new Service();
  const clients = await connectAll(service, 3);
  service.acceptor.update();
  await turns();
  assertEquals([service.stage.inFlight, service.conns.length], [0, 0]);
  service.want(2);
  await until(() => service.conns.length === 2);
  await turns();
  assertEquals([service.stage.inFlight, service.conns.length], [0, 2]);
  service.want(1);
  await until(() => service.conns.length === 3);
  assertEquals(service.ports, clients.map(port));
  closeAll(clients);
});

Deno.test("update() has one accept in flight, however often it is called", async () => {
  using service = new Service();
  service.want();
  service.want();
  service.acceptor.update();
  assertEquals(service.stage.inFlight, 1);
  const clients = await connectAll(service, 20);
  await until(() => service.conns.length === 20);
  assertEquals(service.ports, clients.map(port));
  assertEquals([service.stage.inFlight, service.stage.most], [1, 1]);
  closeAll(clients);
});

Deno.test("release() lets accepting go on only when no hold is left", async () => {
  using service = new Service();
  service.acceptor.hold("one");
  service.acceptor.hold("two");
  service.acceptor.hold("one");
  service.want();
  using client = await connect(service);
  assertEquals(service.acceptor.holds, ["one", "two"]); // as they began
  service.acceptor.release("one");
  await turns();
  assertEquals([service.acceptor.isHeld, service.conns.length], [true, 0]);
  service.acceptor.release("two");
  assertEquals([service.acceptor.isHeld, service.acceptor.holds], [false, []]);
  await until(() => service.conns.length === 1);
  assertEquals(service.ports, [port(client)]);
});

Deno.test("hold() while somebody is given keeps the next from being given", async () => {
  using service = new Service();
  const clients = await connectAll(service, 3);
  service.onTake = () => service.acceptor.hold("enough");
  service.want();
  await until(() => service.conns.length === 1);
  await turns();
  assertEquals([service.conns.length, service.stage.inFlight], [1, 0]);
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
  Deno.test(`${what} parks the connection of the accept in flight, and it is given first`, async () => {
    using service = new Service();
    service.want(1);
    await turns(); // an accept is in flight
    stop(service);
    const clients = await connectAll(service, 2);
    await until(() => service.acceptor.parked === 1);
    await turns();
    assertEquals([service.stage.inFlight, service.conns.length], [0, 0]);
    goOn(service);
    assertEquals(service.conns.length, 0); // never from inside
    await until(() => service.conns.length === 1);
    service.want(1);
    await until(() => service.conns.length === 2);
    assertEquals(service.ports, clients.map(port));
    assertEquals(service.acceptor.parked, 0);
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
  await until(() => service.conns.length === 1);
  assertEquals([service.ports, service.stage.most], [[port(client)], 1]);
});

Deno.test("intake says whom demand and holds let in, and the stage is told", () => {
  using service = new Service();
  const { acceptor, stage } = service;
  const seen: Intake[] = [];
  const look = (change: () => void) => {
    change();
    seen.push(acceptor.intake);
    assertEquals(stage.intakes.at(-1) ?? "anybody", acceptor.intake);
  };
  look(() => acceptor.update());
  look(() => service.want());
  look(() => acceptor.hold("full"));
  look(() => acceptor.hold("backoff"));
  look(() => acceptor.hold("mine"));
  look(() => acceptor.release("full"));
  look(() => acceptor.release("mine"));
  look(() => acceptor.release("backoff"));
  look(() => acceptor.stop());
  assertEquals(seen, [
    "nobody",
    "anybody",
    "those inside",
    "those inside",
    "nobody",
    "nobody",
    "those inside",
    "anybody",
    "nobody",
  ]);
});

Deno.test("a hold that passes lets an obedient stage give who is inside", async () => {
  using service = new Service();
  service.stage.obedient = true;
  service.acceptor.hold("full");
  service.want(1);
  using client = await connect(service);
  await until(() => service.conns.length === 1);
  assertEquals(service.ports, [port(client)]);
});

Deno.test("a failed accept is told during the wait, and tried again after it", async () => {
  const error = osError("EMFILE");
  using service = new Service(
    new StandIn((call) => [0, 1, 3].includes(call) ? error : undefined),
  );
  const clients = await connectAll(service, 2);
  service.want();
  await until(() => service.conns.length === 2);
  const told = (isFirst: boolean) => ({ error, isFirst, holds: ["backoff"] });
  // A success between them makes the next one the first again.
  assertEquals(service.failures, [told(true), told(false), told(true)]);
  assertEquals(service.acceptor.holds, []);
  closeAll(clients);
});

Deno.test("the wait after a failure is doubled up to 1 s, and begins anew after a success", async () => {
  using waits = new Waits();
  const socket = new StandIn((call) =>
    call === 11 ? undefined : osError("EMFILE")
  );
  using service = new Service(socket);
  using _client = await connect(service);
  service.want();
  await until(() => service.failures.length === 11);
  assertEquals(
    waits.asked,
    [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000],
  );
  await until(() => service.failures.length === 13);
  assertEquals(service.conns.length, 1);
  assertEquals(waits.asked, [5, 10]);
});

Deno.test("retry() tries at once, and the waits begin anew", async () => {
  using waits = new Waits();
  const socket = new StandIn(() => osError("EMFILE"));
  using service = new Service(socket);
  service.want();
  await until(() => socket.calls === 5 && service.acceptor.isHeld);
  assertEquals(waits.asked, [5, 10, 20, 40, 80]);
  service.acceptor.retry();
  assertEquals([socket.calls, service.acceptor.holds], [6, []]);
  await until(() => socket.calls === 7 && service.acceptor.isHeld);
  assertEquals(waits.asked, [5, 10]);
});

Deno.test("clients that are gone are tried again at once, but not for ever", async () => {
  const socket = new StandIn(() => osError("ECONNABORTED"));
  using service = new Service(socket);
  service.want();
  await until(() => service.acceptor.isHeld);
  assertEquals(service.acceptor.holds, ["backoff"]);
  assertEquals([socket.calls, service.gone], [256, 256]);
  await until(() => socket.calls === 512);
  assertEquals(service.failures, []);
});

Deno.test("a socket that its owner has closed is told once, and is not tried again", async () => {
  using service = new Service();
  service.want();
  service.stage.close();
  await until(() => service.closed > 0);
  await turns();
  assertEquals([service.closed, service.stage.inFlight], [1, 0]);
  assertEquals(service.failures, []);
});

Deno.test("stop() gives back what is parked, and ends for good", async () => {
  using service = new Service();
  service.want();
  await turns();
  service.acceptor.hold("mine");
  using client = await connect(service);
  await until(() => service.acceptor.parked === 1);
  const [parked, ...others] = service.acceptor.stop() as Deno.TcpConn[];
  assertEquals([parked!.remoteAddr.port, others], [port(client), []]);
  parked!.close();
  assertEquals(await isClosed(client), true);
  assertEquals([service.acceptor.parked, service.acceptor.holds], [0, []]);
  service.acceptor.hold("another");
  service.acceptor.update();
  assertEquals([service.acceptor.holds, service.stage.inFlight], [[], 0]);
});

Deno.test("stop() gives back the accept in flight, and its connection is not taken", async () => {
  using service = new Service();
  service.want();
  await turns();
  const back = service.acceptor.stop();
  using client = await connect(service);
  using conn = await back[0]!;
  await turns();
  assertEquals([back.length, conn.remoteAddr.port], [1, port(client)]);
  assertEquals([service.conns.length, service.acceptor.parked], [0, 0]);
});

Deno.test("stop() during the wait after a failure leaves no timer", async () => {
  const socket = new StandIn(() => osError("EMFILE"));
  using service = new Service(socket);
  service.want();
  await until(() => socket.calls === 8);
  assertEquals(service.acceptor.stop(), []);
  assertEquals(service.acceptor.holds, []);
  await turns();
  assertEquals(socket.calls, 8);
});

Deno.test("the stage keeps the process alive while somebody is to be let in", () => {
  using service = new Service();
  const { acceptor, stage } = service;
  const seen: (boolean | undefined)[] = [];
  const look = (change: () => void) => {
    change();
    seen.push(stage.isAlive);
  };
  look(() => acceptor.update());
  look(() => service.want());
  look(() => acceptor.hold("full"));
  look(() => acceptor.hold("mine"));
  look(() => acceptor.release("mine"));
  look(() => acceptor.refed = false);
  look(() => acceptor.release("full"));
  look(() => acceptor.refed = true);
  look(() => acceptor.stop());
  assertEquals(seen, [
    false,
    true,
    true,
    false,
    true,
    false,
    false,
    true,
    false,
  ]);
});

Deno.test("changed() resolves at the next update", async () => {
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
    await turns(1);
    assertEquals(isChanged, false);
    change();
    await changed;
  }
});
