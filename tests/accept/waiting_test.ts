/** The stage in which connections become ready, around a plain listener: internal/accept/waiting.ts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Outcome } from "../../internal/accept/stage.ts";
import { type Step, Waiting } from "../../internal/accept/waiting.ts";
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

/** A step that ends when a test says so. */
class Pending {
  readonly #outcomes = new Map<number, PromiseWithResolvers<Outcome>>();
  isHere: (conn: Deno.Conn) => boolean = () => false;

  readonly step: Step<Deno.TcpConn> = (conn, isHere) => {
    this.isHere = isHere;
    return this.#of(conn.remoteAddr.port).promise;
  };

  /** Ends it for a client. */
  end(client: Deno.TcpConn, outcome: Outcome = true): void {
    this.#of(port(client)).resolve(outcome);
  }

  #of(port: number): PromiseWithResolvers<Outcome> {
    const outcome = this.#outcomes.get(port) ?? Promise.withResolvers();
    this.#outcomes.set(port, outcome);
    return outcome;
  }
}

/** A stage around a plain listener, and what it has told. */
function waiting(
  steps: Step<Deno.TcpConn>[],
  { timeout = Infinity, socket = Deno.listen(LOCAL) as Deno.Listener } = {},
) {
  const told = { entered: 0, turnedAway: [] as Outcome[] };
  const stage = new Waiting<Deno.TcpConn, Deno.NetAddr>(
    socket as Deno.TcpListener,
    steps,
    timeout,
    {
      onEnter: () => told.entered++,
      turnAway: (conn, why) => {
        told.turnedAway.push(why);
        conn[Symbol.dispose]();
      },
    },
  );
  return { stage, told };
}

Deno.test("accept() gives those first that are ready first", async () => {
  const pending = new Pending();
  const { stage, told } = waiting([pending.step]);
  using _ = stage;
  const clients = await connectAll(stage, 3);
  let accepted = stage.accept();
  await until(() => told.entered === 3);
  assertEquals(stage.waiting, 3);
  for (const i of [2, 0, 1]) {
    pending.end(clients[i]!);
    using conn = await accepted;
    assertEquals(conn.remoteAddr.port, port(clients[i]!));
    accepted = stage.accept();
  }
  assertEquals(stage.waiting, 0);
  stage.close();
  await assertRejects(() => accepted, Deno.errors.BadResource);
  closeAll(clients);
});

Deno.test("accept() waits for one step after the other", async () => {
  const [first, second] = [new Pending(), new Pending()];
  const order: string[] = [];
  const step =
    (name: string, { step }: Pending): Step<Deno.TcpConn> => (...args) => {
      order.push(name);
      return step(...args);
    };
  const { stage } = waiting([
    step("first", first),
    () => true, // and one that need not wait
    step("second", second),
  ]);
  using _ = stage;
  using client = await connect(stage);
  const accepted = stage.accept();
  await until(() => order.length > 0);
  second.end(client);
  await turns();
  assertEquals([order, stage.waiting], [["first"], 1]);
  first.end(client);
  using conn = await accepted;
  assertEquals([order, conn.remoteAddr.port], [
    ["first", "second"],
    port(client),
  ]);
});

Deno.test("accept() turns away whom a step refuses, and goes on", async () => {
  let [first, second] = [0, 0];
  const steps: Step<Deno.TcpConn>[] = [
    () => Promise.resolve(first++ > 0),
    () => second++ > 0 || "proxy-header", // not a promise
  ];
  const { stage, told } = waiting(steps);
  using _ = stage;
  const clients = await connectAll(stage, 3);
  using conn = await stage.accept();
  assertEquals(conn.remoteAddr.port, port(clients[2]!));
  assertEquals(told, { entered: 3, turnedAway: [false, "proxy-header"] });
  for (const client of clients.slice(0, 2)) assert(await isClosed(client));
  closeAll(clients);
});

Deno.test('take("those inside") takes nobody in, and gives who becomes ready', async () => {
  const pending = new Pending();
  const { stage, told } = waiting([pending.step]);
  using _ = stage;
  using inside = await connect(stage);
  const accepted = stage.accept();
  await until(() => told.entered === 1);
  stage.take("those inside");
  // The accept in flight cannot be taken back: it is one more, and the last.
  const others = await connectAll(stage, 3);
  await until(() => told.entered === 2);
  await turns();
  assertEquals(told.entered, 2);
  pending.end(inside);
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, port(inside));
  stage.take("anybody");
  const next = stage.accept();
  await until(() => told.entered === 4);
  for (const client of others) pending.end(client);
  closeAll([await next, await stage.accept(), await stage.accept(), ...others]);
});

Deno.test('take("nobody") gives nobody who is ready until somebody is to be given, and then in order', async () => {
  const pending = new Pending();
  const { stage, told } = waiting([pending.step]);
  using _ = stage;
  const clients = await connectAll(stage, 3);
  let isGiven = false;
  const accepted = stage.accept().finally(() => isGiven = true);
  await until(() => told.entered === 3);
  stage.take("nobody");
  for (const i of [1, 2, 0]) {
    pending.end(clients[i]!);
    await turns(1);
  }
  assertEquals([isGiven, stage.waiting], [false, 3]);
  stage.take("those inside");
  const conns = [await accepted, await stage.accept(), await stage.accept()];
  assertEquals(
    conns.map((conn) => conn.remoteAddr.port),
    [1, 2, 0].map((i) => port(clients[i]!)),
  );
  closeAll([...conns, ...clients]);
});

Deno.test("accept() closes who is not ready in time", async () => {
  const reading: Step<Deno.TcpConn> = async (conn) => {
    try {
      return await conn.read(new Uint8Array(1)) !== null;
    } catch {
      return false; // it was closed
    }
  };
  const { stage, told } = waiting([reading], { timeout: 8 });
  using _ = stage;
  using silent = await connect(stage);
  const accepted = stage.accept();
  assert(await isClosed(silent));
  await until(() => told.turnedAway.length === 1);
  assertEquals([told.turnedAway, stage.waiting], [[false], 0]);
  stage.close();
  await assertRejects(() => accepted, Deno.errors.BadResource);
});

Deno.test("accept() fails as the listener inside does, and goes on after it", async () => {
  const socket = new StandIn((call) =>
    call === 0 ? osError("EMFILE") : undefined
  );
  const { stage } = waiting([() => true], { socket });
  using _ = stage;
  await assertRejects(() => stage.accept(), Error, "EMFILE");
  using client = await connect(stage);
  using conn = await stage.accept();
  assertEquals(conn.remoteAddr.port, port(client));
});

Deno.test("accept() gives who is inside a closed listener before it rejects", async () => {
  const pending = new Pending();
  const { stage, told } = waiting([pending.step]);
  const clients = await connectAll(stage, 2);
  const accepted = stage.accept();
  await until(() => told.entered === 2);
  stage.close();
  await turns();
  pending.end(clients[0]!);
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, port(clients[0]!));
  const rejected = assertRejects(() => stage.accept(), Deno.errors.BadResource);
  pending.end(clients[1]!, false);
  await rejected;
  assert(await isClosed(clients[1]!));
  closeAll(clients);
});

Deno.test("giveBack() gives who is ready, who is not, and what is in flight", async () => {
  const pending = new Pending();
  const { stage, told } = waiting([pending.step], { timeout: 60_000 });
  using _ = stage;
  const clients = await connectAll(stage, 2);
  const accepted = stage.accept();
  await until(() => told.entered === 2);
  stage.take("nobody");
  pending.end(clients[1]!);
  await turns(); // it is ready
  const back = stage.giveBack(accepted);
  clients.push(await connect(stage));
  const conns = await Promise.all(back);
  assertEquals(
    conns.map((conn) => conn.remoteAddr.port),
    [1, 0, 2].map((i) => port(clients[i]!)),
  );
  // What becomes of them is not the stage's any more.
  assertEquals([stage.waiting, pending.isHere(conns[1]!)], [0, false]);
  pending.end(clients[0]!, false);
  await turns();
  assertEquals([told.entered, told.turnedAway], [2, []]);
  closeAll([...conns, ...clients]);
});

Deno.test("giveBack() gives what accept() has given and nobody has taken", async () => {
  const { stage } = waiting([() => true]);
  using _ = stage;
  using client = await connect(stage);
  const accepted = stage.accept();
  using conn = await accepted;
  const back = stage.giveBack(accepted); // whoever called did not see it yet
  assertEquals(await Promise.all(back), [conn]);
  assertEquals(conn.remoteAddr.port, port(client));
});
