/** The stage that turns connections away, around a plain listener: internal/accept/gate.ts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Gate } from "../../internal/accept/gate.ts";
import type { Outcome } from "../../internal/accept/stage.ts";
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

/** A gate that says one thing after the other, and what it has turned away. */
function gate(outcomes: Outcome[], socket: Socket = Deno.listen(LOCAL)) {
  const turnedAway: [number, Outcome][] = [];
  let looks = 0;
  const gate = new Gate(
    socket,
    () => outcomes[looks++] ?? true,
    (conn, why) => {
      turnedAway.push([conn.remoteAddr.port, why]);
      conn.close();
    },
  );
  return { gate, turnedAway, looks: () => looks };
}

const port = (client: Deno.TcpConn) => client.localAddr.port;

Deno.test("accept() gives those that pass, in order, and turns the others away", async () => {
  const { gate: stage, turnedAway } = gate([true, false, "full", true]);
  using _ = stage;
  const clients = await connectAll(stage, 4);
  using first = await stage.accept();
  using second = await stage.accept();
  assertEquals(
    [first.remoteAddr.port, second.remoteAddr.port],
    [port(clients[0]!), port(clients[3]!)],
  );
  assertEquals(turnedAway, [
    [port(clients[1]!), false],
    [port(clients[2]!), "full"],
  ]);
  assert(await isClosed(clients[1]!));
  closeAll(clients);
});

Deno.test("accept() turns no second one away until anybody is to be taken", async () => {
  const { gate: stage, turnedAway } = gate([false, false, true]);
  using _ = stage;
  const clients = await connectAll(stage, 3);
  stage.take("those inside");
  const accepted = stage.accept();
  await until(() => turnedAway.length === 1);
  await turns();
  stage.take("nobody");
  await turns();
  assertEquals(turnedAway.length, 1);
  stage.take("anybody");
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, port(clients[2]!));
  assertEquals(turnedAway.length, 2);
  closeAll(clients);
});

Deno.test("accept() fails as the listener inside does, and goes on after it", async () => {
  const socket = new StandIn((call) =>
    call === 0 ? osError("EMFILE") : undefined
  );
  using stage = gate([], socket).gate;
  await assertRejects(() => stage.accept(), Error, "EMFILE");
  using client = await connect(stage);
  using conn = await stage.accept();
  assertEquals(conn.remoteAddr.port, port(client));
});

Deno.test("giveBack() gives the accept in flight, which nobody looks at", async () => {
  const { gate: stage, looks } = gate([false]);
  using _ = stage;
  const back = stage.giveBack(stage.accept());
  using client = await connect(stage);
  using conn = await back[0]!;
  assertEquals([back.length, conn.remoteAddr.port], [1, port(client)]);
  await turns();
  assertEquals(looks(), 0);
});

Deno.test("giveBack() gives a connection that has passed and was not taken", async () => {
  using stage = gate([true]).gate;
  using client = await connect(stage);
  const accepted = stage.accept();
  using conn = await accepted;
  const back = stage.giveBack(accepted); // whoever called did not see it yet
  assertEquals(await Promise.all(back), [conn]);
  assertEquals(conn.remoteAddr.port, port(client));
});

Deno.test("giveBack() gives nothing while the gate waits to be opened", async () => {
  using socket = Deno.listen(LOCAL);
  const { gate: stage, turnedAway } = gate([false], socket);
  const clients = await connectAll(stage, 2);
  stage.take("those inside");
  const accepted = stage.accept();
  await until(() => turnedAway.length === 1);
  assertEquals(stage.giveBack(accepted), []);
  using next = await socket.accept(); // it is still in the queue
  assertEquals(next.remoteAddr.port, port(clients[1]!));
  closeAll(clients);
});

Deno.test("giveBack() of a gate around a gate gives the accept in flight once", async () => {
  const inner = gate([]);
  const outer = gate([], inner.gate as Socket);
  using stage = outer.gate;
  const back = stage.giveBack(stage.accept());
  using client = await connect(stage);
  const conns = await Promise.all(back);
  assertEquals(conns.map((conn) => conn.remoteAddr.port), [port(client)]);
  assertEquals([inner.looks(), outer.looks()], [0, 0]);
  closeAll(conns);
});

Deno.test("accept() rejects when the look that turns one away has ended the gate", async () => {
  using stage: Gate<Deno.TcpConn, Deno.NetAddr> = new Gate(
    Deno.listen(LOCAL),
    () => {
      stage.giveBack();
      return false;
    },
    (conn) => conn.close(),
  );
  const clients = await connectAll(stage, 2);
  await assertRejects(() => stage.accept(), Deno.errors.BadResource);
  closeAll(clients);
});

Deno.test("close() of a gate closes the listener inside, and its accept() rejects", async () => {
  const { gate: stage } = gate([]);
  const accepted = stage.accept();
  stage.close();
  await assertRejects(() => accepted, Deno.errors.BadResource);
});
