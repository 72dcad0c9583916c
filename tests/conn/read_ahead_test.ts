/** Bytes that are read before a program asks for them: internal/conn/read_ahead.ts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { stateOf } from "../../internal/conn/front.ts";
import { readAll, turns } from "../helpers/clients.ts";
import {
  bytesAhead,
  type Pair,
  pairOn,
  readAhead,
} from "../helpers/conn_pairs.ts";
import { writeAll } from "../helpers/faults.ts";
import { random } from "../helpers/proxy_headers.ts";
import { tcp, testOver } from "../helpers/transports.ts";

const say = (conn: Deno.Conn, text: string) =>
  writeAll(conn, new TextEncoder().encode(text));
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function readText(conn: Deno.Conn, length = 100): Promise<string> {
  const bytes = new Uint8Array(length);
  return textOf(bytes.subarray(0, await conn.read(bytes) ?? 0));
}

testOver(
  "readAhead() leaves what it reads to read()",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn, client } = pair;
    for (const text of ["hello ", "world"]) {
      await say(client, text);
      assertEquals(await readAhead(conn), true);
    }
    assert("hello world".startsWith(textOf(bytesAhead(conn))));
    stateOf(conn).ahead!.skip(6);
    await client.closeWrite();
    assertEquals(await readAll(conn), "world");
  },
);

testOver(
  "readAhead() keeps more bytes than a buffer has",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn, client } = pair;
    const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7);
    await writeAll(client, bytes);
    while (bytesAhead(conn).length < bytes.length) {
      await readAhead(conn);
    }
    assertEquals(bytesAhead(conn), bytes);
    await client.closeWrite();
    assertEquals(await new Response(conn.readable).bytes(), bytes);
  },
);

testOver(
  "readAhead() says that there is nothing before the end, and so does read()",
  async (transport) => {
    using pair = await pairOn(transport);
    await pair.client.closeWrite();
    assertEquals(await readAhead(pair.conn), false);
    assertEquals(await pair.conn.read(new Uint8Array(1)), null);
  },
);

testOver(
  "read() waits for a readAhead() that is pending",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn, client } = pair;
    const ahead = readAhead(conn);
    const reads = [readText(conn, 2), readText(conn, 3)];
    await say(client, "hello");
    assertEquals(await ahead, true);
    assertEquals(await Promise.all(reads), ["he", "llo"]);
  },
);

testOver(
  "readable waits for a readAhead() that is pending",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn, client } = pair;
    const ahead = readAhead(conn);
    const all = readAll(conn);
    await say(client, "hello");
    await client.closeWrite();
    assertEquals(await ahead, true);
    assertEquals(await all, "hello");
  },
);

testOver(
  "read() fails with a readAhead() that is pending",
  async (transport) => {
    using pair = await pairOn(transport);
    const ahead = readAhead(pair.conn);
    const read = pair.conn.read(new Uint8Array(1));
    pair.conn.close();
    assertEquals(await ahead, false);
    const { name } = await assertRejects(() => read);
    assert(["Interrupted", "BadResource"].includes(name));
  },
);

testOver(
  "readAhead() again while one is pending keeps every byte in its place",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn, client } = pair;
    readAhead(conn);
    const ahead = readAhead(conn);
    const read = readText(conn, 1);
    await say(client, "abcd");
    await turns();
    await say(client, "efgh");
    await client.closeWrite();
    await ahead;
    assertEquals(await read + await readAll(conn), "abcdefgh");
  },
);

/** One connection whose bytes are all `id`, read in one way or another. */
async function checkOwn(
  pair: Pair,
  id: number,
  next: (limit: number) => number,
): Promise<void> {
  using _ = pair;
  const { conn, client } = pair;
  const areOwn = (bytes: Uint8Array) =>
    assert(bytes.every((byte) => byte === id), `the bytes of ${id}`);
  const sent = new Uint8Array(1 + next(5000)).fill(id);
  const sending = writeAll(client, sent).then(() => client.closeWrite());
  if (next(4) > 0) await readAhead(conn);
  await turns(next(3));
  areOwn(bytesAhead(conn));
  if (next(8) > 0) { // otherwise it is closed with what is ahead
    const buffer = new Uint8Array(1 + next(700));
    let length = 0;
    for (let read; (read = await conn.read(buffer)) !== null; length += read) {
      areOwn(buffer.subarray(0, read));
      await turns(next(8) === 0 ? 1 : 0);
    }
    assertEquals(length, sent.length);
  }
  await sending;
}

Deno.test("what is read ahead is never another connection's", async () => {
  const next = random(20_260_101);
  const underWay = new Set<Promise<void>>();
  for (let count = 0; count < 500; count++) {
    const checking = checkOwn(await pairOn(tcp), 1 + count % 255, next)
      .then(() => void underWay.delete(checking));
    underWay.add(checking);
    if (underWay.size === 16) await Promise.race(underWay);
  }
  await Promise.all(underWay);
});
