/** First in, first out: internal/util/queue.ts, and what a listener does with it. */
import { assertEquals } from "@std/assert";
import { listen } from "@evconn/listener";
import { Queue } from "../../internal/util/queue.ts";
import { connectAll, until } from "../helpers/clients.ts";

Deno.test("shift() gives what was pushed in that order", () => {
  const queue = new Queue<string>();
  queue.push("a");
  queue.push("b");
  assertEquals([queue.shift(), queue.shift()], ["a", "b"]);
});

Deno.test("shift() of an empty queue gives undefined, and another push() still works", () => {
  const queue = new Queue<string>();
  assertEquals([queue.shift(), queue.size], [undefined, 0]);
  queue.push("a");
  assertEquals([queue.shift(), queue.shift()], ["a", undefined]);
});

Deno.test("push() and shift() keep the order however they take turns", () => {
  const queue = new Queue<number>();
  const expected: number[] = [];
  let next = 0;
  for (let round = 0; round < 100; round++) {
    // Sometimes it grows, sometimes it shrinks, sometimes it is empty.
    for (let i = 0; i < round * 7 % 11; i++) {
      queue.push(next);
      expected.push(next++);
    }
    for (let i = 0; i < round * 5 % 13; i++) {
      assertEquals(queue.shift(), expected.shift());
    }
    assertEquals(queue.size, expected.length);
  }
});

Deno.test("takeAll() gives what is left, and leaves an empty queue", () => {
  const queue = new Queue<number>();
  for (let i = 0; i < 5; i++) queue.push(i);
  queue.shift();
  assertEquals(queue.takeAll(), [1, 2, 3, 4]);
  assertEquals([queue.size, queue.takeAll()], [0, []]);
  queue.push(5);
  assertEquals(queue.shift(), 5);
});

Deno.test("accept() that was called 20,000 times is served, and rejects, in order", async () => {
  const listener = listen({ hostname: "127.0.0.1", port: 0 });
  const served: [call: number, port: number][] = [];
  const rejected: number[] = [];
  for (let call = 0; call < 20_000; call++) {
    listener.accept().then((conn) => {
      served.push([call, conn.remoteAddr.port]);
      conn.close();
    }, () => rejected.push(call));
  }
  const clients = await connectAll(listener, 100);
  await until(() => served.length === 100);
  await listener.close();
  await until(() => rejected.length === 19_900);
  const ports = clients.map((client) => client.localAddr.port);
  assertEquals(served, ports.map((port, call) => [call, port]));
  assertEquals(rejected, Array.from({ length: 19_900 }, (_, i) => 100 + i));
  for (const client of clients) client.close();
});
