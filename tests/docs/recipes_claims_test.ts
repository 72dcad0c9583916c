/** docs/recipes.md: what it says of the ways that it does not take. */
import { assert, assertEquals } from "@std/assert";
import { listen } from "@evconn/listener";
import { BlockList } from "node:net";
import { Duplex } from "node:stream";
import { connect, isClosed, readAll } from "../helpers/clients.ts";
import { echo, writeAll } from "../helpers/faults.ts";
import { recipeExports } from "../helpers/recipes.ts";

const text = (what: string) => new TextEncoder().encode(what);

/** A server that answers once the client has sent its FIN. */
function listenToTheEnd() {
  return listen({ hostname: "127.0.0.1", port: 0 }, async (conn) => {
    while (await conn.read(new Uint8Array(1024)) !== null);
    await conn.write(text("all read"));
  });
}

Deno.test("recipes: a relay of two pipeTo() loses the answer to a half-closed client", async () => {
  await using target = listenToTheEnd();
  await using relay = listen(
    { hostname: "127.0.0.1", port: 0 },
    async (conn) => {
      const upstream = await connect(target);
      await Promise.allSettled([
        conn.readable.pipeTo(upstream.writable),
        upstream.readable.pipeTo(conn.writable),
      ]);
    },
  );
  const client = await connect(relay);
  await writeAll(client, text("hello"));
  await client.closeWrite();
  assertEquals(await readAll(client), "");
});

Deno.test("recipes: Duplex.fromWeb() loses the answer to a half-closed client", async () => {
  await using listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    (conn) =>
      new Promise<void>((resolve) => {
        const stream = Duplex.fromWeb(conn);
        stream.on("error", () => {}).on("close", resolve).resume();
        stream.on("end", () => stream.end("all read"));
      }),
  );
  const client = await connect(listener);
  await writeAll(client, text("hello"));
  await client.closeWrite();
  assertEquals(await readAll(client), "");
});

Deno.test("recipes: BlockList takes ::ffff:192.0.2.1 for IPv4", () => {
  const list = new BlockList();
  list.addSubnet("192.0.2.0", 24);
  assert(list.check("::ffff:192.0.2.1", "ipv6"));
  assert(!list.check("::ffff:198.51.100.1", "ipv6"));
});

Deno.test("recipes: a line that is too long is reported, and closes the connection", async () => {
  const { chunks, intoLines } = await recipeExports(
    "Lines",
    ...["chunks", "intoLines"],
  );
  const failed = Promise.withResolvers<unknown>();
  await using listener = listen({
    hostname: "127.0.0.1",
    port: 0,
    onConnectionError: failed.resolve,
  }, async (conn) => {
    const lines = ReadableStream.from<Uint8Array<ArrayBuffer>>(chunks(conn))
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(intoLines(1000));
    for await (const _line of lines);
  });
  using client = await connect(listener);
  await writeAll(client, text(`${"x".repeat(1001)}\n`));
  assert(await isClosed(client));
  assert(await failed.promise instanceof RangeError);
});

Deno.test("recipes: await using waits for a client that stays", async () => {
  const listener = listen({ hostname: "127.0.0.1", port: 0 }, echo);
  const client = await connect(listener);
  let isOver = false;
  const over = listener[Symbol.asyncDispose]().then(() => isOver = true);
  await writeAll(client, text("a"));
  await client.read(new Uint8Array(1));
  assertEquals(isOver, false);
  client.close();
  await over;
});
