/** hold(): reasons of a program's own not to accept. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { listen } from "@evconn/listener";
import { connect, isClosed, turns, until } from "../helpers/clients.ts";
import { echo } from "../helpers/faults.ts";
import { isServed } from "../helpers/peer_clients.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

Deno.test("hold() leaves clients in the queue until it is disposed of", async () => {
  await using listener = listen(LOCAL, echo);
  {
    using _away = listener.hold("database");
    using client = await connect(listener);
    await turns();
    assertEquals([listener.state, listener.holds], ["listening", ["database"]]);
    assertEquals(listener.stats.active, 0);
    client.close();
  }
  assertEquals(listener.holds, []);
  using client = await connect(listener);
  assert(await isServed(client));
});

Deno.test("hold() does not touch connections that are being served", async () => {
  await using listener = listen(LOCAL, echo);
  using client = await connect(listener);
  assert(await isServed(client));
  using _away = listener.hold("database");
  assert(await isServed(client));
});

Deno.test("hold() makes accept() wait until the last reason is gone", async () => {
  await using listener = listen(LOCAL);
  const holds = ["database", "disk"].map((reason) => listener.hold(reason));
  const accepted = listener.accept();
  using client = await connect(listener);
  holds[0]![Symbol.dispose]();
  await turns();
  assertEquals(listener.stats.accepted, 0);
  holds[1]![Symbol.dispose]();
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
});

Deno.test("hold() lists reasons in the order in which they began, each once", async () => {
  await using listener = listen(LOCAL);
  const database = listener.hold("database");
  listener.pause();
  const disk = listener.hold("disk");
  const again = listener.hold("database");
  assertEquals(listener.holds, ["database", "paused", "disk"]);
  database[Symbol.dispose]();
  assertEquals(listener.holds, ["database", "paused", "disk"]); // held by the other
  again[Symbol.dispose]();
  assertEquals(listener.holds, ["paused", "disk"]);
  using _later = listener.hold("database");
  assertEquals(listener.holds, ["paused", "disk", "database"]);
  disk[Symbol.dispose]();
  listener.resume();
  assertEquals(listener.holds, ["database"]);
});

Deno.test("hold() disposed of twice releases nobody else's", async () => {
  await using listener = listen(LOCAL);
  const first = listener.hold("database");
  using _second = listener.hold("database");
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assertEquals(listener.holds, ["database"]);
});

Deno.test("hold() disposed of twice does not release a later one for the same reason", async () => {
  await using listener = listen(LOCAL);
  const first = listener.hold("database");
  first[Symbol.dispose]();
  using _second = listener.hold("database");
  first[Symbol.dispose]();
  assertEquals(listener.holds, ["database"]);
});

Deno.test("hold() and pause() do not undo each other", async () => {
  await using listener = listen(LOCAL, echo);
  const away = listener.hold("database");
  listener.pause();
  assertEquals(listener.state, "paused");
  listener.resume();
  assertEquals([listener.state, listener.holds], ["listening", ["database"]]);
  listener.pause();
  away[Symbol.dispose]();
  assertEquals([listener.state, listener.holds], ["paused", ["paused"]]);
  using client = await connect(listener);
  await turns();
  assertEquals(listener.stats.active, 0);
  listener.resume();
  assert(await isServed(client));
});

Deno.test("hold() is not undone by a place that becomes free", async () => {
  await using listener = listen({ ...LOCAL, maxConnections: 1 }, echo);
  const first = await connect(listener);
  assert(await isServed(first));
  const away = listener.hold("database");
  assertEquals(listener.holds, ["full", "database"]);
  first.close();
  await until(() => listener.stats.active === 0);
  assertEquals(listener.holds, ["database"]);
  using second = await connect(listener);
  const served = isServed(second);
  await turns();
  assertEquals(listener.stats.active, 0);
  away[Symbol.dispose]();
  assert(await served);
});

Deno.test("hold() after the end does nothing, and neither does its disposal", async () => {
  const listener = listen(LOCAL, echo);
  const before = listener.hold("database");
  await listener.close();
  assertEquals([listener.state, listener.holds], ["closed", []]);
  const after = listener.hold("disk");
  assertEquals(listener.holds, []);
  for (const hold of [before, before, after, after]) hold[Symbol.dispose]();
  assertEquals([listener.state, listener.holds], ["closed", []]);
  await listener.finished;
});

Deno.test("hold() stops a drain as pause() does", async () => {
  for (const verb of ["hold", "pause"] as const) {
    const listener = listen({ ...LOCAL, maxConnections: 1 }, echo);
    const first = await connect(listener);
    assert(await isServed(first));
    using queued = await connect(listener);
    const ended = listener.shutdown();
    assertEquals(listener.state, "draining");
    using _hold = verb === "hold" ? listener.hold("database") : undefined;
    if (verb === "pause") listener.pause();
    assert(await isClosed(queued)); // while the first is still served
    assert(await isServed(first));
    first.close();
    assertEquals([verb, await ended], [verb, { completed: 1, aborted: 0 }]);
    assertEquals(listener.stats.accepted, 1);
  }
});

Deno.test("hold() before shutdown() leaves the queue undelivered", async () => {
  const listener = listen(LOCAL, echo);
  listener.hold("database");
  using client = await connect(listener);
  await listener.shutdown();
  assert(await isClosed(client));
  assertEquals(listener.stats.active, 0);
});

Deno.test("hold() refuses what is no reason of a program's own", async () => {
  await using listener = listen(LOCAL);
  const wrong = ["", "paused", "full", "backoff", undefined, null, 1, {}];
  for (const reason of wrong) {
    assertThrows(
      () => listener.hold(reason as string),
      TypeError,
      "Cannot hold as 'reason' must be",
    );
  }
  assertEquals(listener.holds, []);
});
