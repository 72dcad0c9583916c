/** A covered connection is Deno's own in every respect but what covers it: internal/conn/front.ts. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { ConnState } from "../../internal/conn/conn_state.ts";
import {
  limitIdling,
  realRemoteAddr,
  showAddrs,
  stateOf,
} from "../../internal/conn/front.ts";
import type { ParsedHeader } from "../../internal/proxy/header.ts";
import { Sweep } from "../../internal/util/sweep.ts";
import { isClosed, readAll, turns } from "../helpers/clients.ts";
import { type Pair, pairOn, readAhead } from "../helpers/conn_pairs.ts";
import { writeAll } from "../helpers/faults.ts";
import { runProgram } from "../helpers/program.ts";
import { CLOSE_ENDS_WRITES, WRITABLE_CHECKS } from "../helpers/this_deno.ts";
import { tcp, testOver, type Transport } from "../helpers/transports.ts";

/** A header that leaves the addresses as they are. */
const LOCAL: ParsedHeader = {
  version: 2,
  command: "LOCAL",
  source: undefined,
  destination: undefined,
  tlvs: [],
};
const timeOut = (state: ConnState) => state.timeOut();

/** What covers a connection. Bytes of the client that were read ahead are `text`. */
const COVERS: Record<string, (pair: Pair, text: string) => Promise<void>> = {
  async nothing() {},
  // deno-lint-ignore require-await
  async "other addresses"({ conn }) {
    showAddrs(stateOf(conn), LOCAL);
  },
  // deno-lint-ignore require-await
  async "a limit of idling"({ conn }) {
    const sweep = new Sweep(60_000, timeOut);
    sweep.end(); // its timer goes with the last wait
    limitIdling(stateOf(conn), sweep);
  },
  async "bytes ahead"({ conn, client }, text) {
    if (text === "") return;
    await say(client, text);
    await readAhead(conn);
  },
};

/**
 * Does the same with a connection under each cover, and with one of Deno's own: the
 * outcomes have to be the same. The client says `text` first.
 */
function testSame(
  name: string,
  outcome: (pair: Pair) => unknown,
  text = "",
  ignore = false,
): void {
  testOver(
    `a covered connection ${name}`,
    (transport) => checkSame(transport, outcome, text),
    ignore,
  );
}

async function checkSame(
  transport: Transport,
  outcome: (pair: Pair) => unknown,
  text = "",
): Promise<void> {
  const outcomes: Record<string, unknown> = {};
  for (const [cover, put] of Object.entries(COVERS)) {
    using pair = await pairOn(transport);
    await put(pair, text);
    if (cover !== "bytes ahead") await say(pair.client, text);
    outcomes[cover] = await outcome(pair);
  }
  const { nothing: expected } = outcomes;
  for (const [cover, actual] of Object.entries(outcomes)) {
    assertEquals(actual, expected, cover);
  }
}

const say = (conn: Deno.Conn, text: string) =>
  writeAll(conn, new TextEncoder().encode(text));
const textOf = (bytes: Uint8Array | undefined) =>
  new TextDecoder().decode(bytes);
const settled = (promise: Promise<unknown>) =>
  promise.catch(({ name, message }) => `${name}: ${message}`);
/** Only what kind of error it is. */
const named = (promise: Promise<unknown>) =>
  promise.then(() => "done", ({ name }) => name);
const isOpen = (conn: Deno.Conn) => {
  try {
    conn.close();
    return true;
  } catch {
    return false;
  }
};

async function readText(conn: Deno.Conn, length = 100): Promise<string> {
  const bytes = new Uint8Array(length);
  return textOf(bytes.subarray(0, await conn.read(bytes) ?? 0));
}

testSame("looks like Deno's", ({ conn }) => {
  const enumerable: string[] = [];
  for (const name in conn) enumerable.push(name);
  return {
    inspected: Deno.inspect(conn, { depth: 0 }).replace(/rid: \d+/g, "rid"),
    tag: String(conn),
    name: conn.constructor.name,
    names: Object.getOwnPropertyNames(conn),
    symbols: Object.getOwnPropertySymbols(conn).length,
    members: ["closeWrite", "ref", "unref", "close", "handshake"]
      .map((name) => typeof Reflect.get(conn, name)),
    enumerable,
    keys: Object.keys({ ...conn }),
    json: JSON.stringify(conn),
  };
});

testSame(
  "is an instance of its class",
  async ({ conn, client }) => {
    await say(conn, "");
    // Both ends are of one class.
    return conn instanceof client.constructor;
  },
);

testSame("shows its addresses", ({ conn, client }) => {
  if (conn.remoteAddr.transport !== "tcp") return conn.remoteAddr;
  assertEquals(conn.localAddr, client.remoteAddr);
  assertEquals(conn.remoteAddr, client.localAddr);
  assertEquals(realRemoteAddr.length, 1);
});

testSame("reads piece by piece", async ({ conn, client }) => {
  const pieces = [await readText(conn, 1), await readText(conn, 3)];
  pieces.push(await readText(conn));
  await say(client, " world");
  return [...pieces, await readText(conn)];
}, "hello");

testSame("reads nothing into no room", async ({ conn }) => {
  const before = await conn.read(new Uint8Array(0));
  return [before, await readText(conn)];
}, "hello");

testSame("refuses to read into what is no Uint8Array", async ({ conn }) => {
  const refused = [
    undefined,
    null,
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
    new Uint16Array(4),
    [0, 0],
  ];
  const outcomes: string[] = [];
  for (const p of refused) {
    try {
      outcomes.push(await named(conn.read(p as never)));
    } catch {
      outcomes.push("thrown");
    }
  }
  assert(outcomes.every((outcome) => outcome !== "done"), String(outcomes));
  return [...outcomes, await readText(conn)];
}, "hello");

testSame("serves two reads at once", async ({ conn, client }) => {
  const reads = [readText(conn, 5), readText(conn, 5)];
  await say(client, "world");
  return (await Promise.all(reads)).sort();
}, "hello");

testSame("reads the end as null", async ({ conn, client }) => {
  const text = await readText(conn);
  client.close();
  return [text, await conn.read(new Uint8Array(1))];
}, "hello");

testSame("reads nothing once it is closed", async ({ conn }) => {
  conn.close();
  const reads = [0, 1].map((length) => conn.read(new Uint8Array(length)));
  const write = conn.write(new Uint8Array(1));
  return [...await Promise.all(reads.map(settled)), await settled(write)];
}, "hello");

testSame("ends a pending read when it is closed", async ({ conn }) => {
  const read = conn.read(new Uint8Array(1));
  conn.close();
  return await settled(read);
});

testSame("can be closed once, and disposed of always", ({ conn }) => {
  conn.close();
  conn[Symbol.dispose]();
  return isOpen(conn);
}, "hello");

testSame("goes on reading after closeWrite()", async ({ conn, client }) => {
  await say(conn, "goodbye");
  await conn.closeWrite();
  const said = [await readText(client), await client.read(new Uint8Array(1))];
  await say(client, " world");
  let heard = "";
  while (heard.length < 11) heard += await readText(conn);
  return [...said, heard];
}, "hello");

testSame("has one readable and one writable", async ({ conn }) => {
  const { readable, writable } = conn;
  const same = [readable === conn.readable, writable === conn.writable];
  await readable.cancel();
  return [...same, readable === conn.readable];
}, "hello");

testSame("gives everything through readable", async ({ conn, client }) => {
  await say(client, " world");
  await client.closeWrite();
  return [await readAll(conn), isOpen(conn)];
}, "hello");

testSame("gives a BYOB reader what fits", async ({ conn }) => {
  const reader = conn.readable.getReader({ mode: "byob" });
  const first = await reader.read(new Uint8Array(2));
  const second = await reader.read(new Uint8Array(100));
  return [first, second].map(({ value, done }) => [textOf(value), done]);
}, "hello");

testSame("ends a BYOB reader", async ({ conn, client }) => {
  client.close();
  const reader = conn.readable.getReader({ mode: "byob" });
  const { value, done } = await reader.read(new Uint8Array(8));
  return [value?.length, done, await named(reader.closed), isOpen(conn)];
});

testSame("gives two clones of readable the same", async ({ conn, client }) => {
  await client.closeWrite();
  const both = conn.readable.tee().map((stream) => new Response(stream).text());
  return await Promise.all(both);
}, "hello");

testSame(
  "is closed when its readable is cancelled",
  async ({ conn, client }) => {
    await conn.readable.cancel("no more");
    return [isOpen(conn), await isClosed(client)];
  },
  "hello",
);

testSame(
  "is closed when its readable is cancelled while a read waits",
  async ({ conn, client }) => {
    const reader = conn.readable.getReader();
    const read = reader.read();
    await reader.cancel();
    return [(await read).done, isOpen(conn), await isClosed(client)];
  },
);

testSame("has a readable that fails once it is closed", async ({ conn }) => {
  const reader = conn.readable.getReader();
  conn.close();
  return [await named(reader.read()), await named(reader.closed)];
});

testSame(
  "lets readable and read() go on with each other",
  async ({ conn, client }) => {
    const reader = conn.readable.getReader();
    const { value } = await reader.read();
    await say(client, " world");
    const read = await readText(conn);
    await say(client, "!");
    return [textOf(value), read, textOf((await reader.read()).value)];
  },
  "hello",
);

testSame("is closed when its writable is", async ({ conn, client }) => {
  const writer = conn.writable.getWriter();
  await writer.write(new TextEncoder().encode("goodbye"));
  await writer.close();
  return [isOpen(conn), await readAll(client)];
});

testSame("is closed when its writable is aborted", async ({ conn, client }) => {
  await conn.writable.abort("enough");
  return [isOpen(conn), await isClosed(client)];
});

const CHUNKS: Record<string, unknown> = {
  "a Uint8Array": new Uint8Array([97, 98]),
  "a part of a larger array": new Uint8Array([1, 97, 98, 1]).subarray(1, 3),
  "a Uint8ClampedArray": new Uint8ClampedArray([97, 98]),
  "a Uint16Array": new Uint16Array([0x6161, 0x6262]),
  "a Float64Array": new Float64Array([1, 2]),
  "a DataView": new DataView(new Uint8Array([1, 97, 98]).buffer, 1),
  "an ArrayBuffer": new Uint8Array([97, 98]).buffer,
  "a shared array": new Uint8Array(new SharedArrayBuffer(2)),
  "nothing in an array": new Uint8Array(0),
  "a string": "ab",
  "a number": 5,
  "an array": [97, 98],
  "undefined": undefined,
  "null": null,
};
for (const [what, chunk] of Object.entries(CHUNKS)) {
  const outcome = async ({ conn, client }: Pair) => {
    const writer = conn.writable.getWriter();
    writer.closed.catch(() => {});
    const result = await named(writer.write(chunk as Uint8Array));
    const closed = isOpen(conn) ? "open" : await named(writer.closed);
    return [result, closed, await readAll(client)];
  };
  Deno.test(
    `the writable of a covered connection treats ${what} as Deno's does`,
    { ignore: !WRITABLE_CHECKS },
    () => checkSame(tcp, outcome),
  );
}

testSame(
  "fails a write that it cannot finish",
  async ({ conn }) => {
    const writer = conn.writable.getWriter();
    const write = named(writer.write(new Uint8Array(1 << 26)));
    const closed = named(writer.closed);
    await turns(); // it waits for the client
    conn.close();
    return [await write, await closed];
  },
  "",
  !CLOSE_ENDS_WRITES,
);

testOver(
  "the readable of a covered connection is Deno's own once nothing is ahead",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn, client } = pair;
    const own = Object.getPrototypeOf(conn);
    await say(client, "hello");
    await readAhead(conn);
    assert(own !== Object.getPrototypeOf(conn));
    assertEquals(await readText(conn), "hello");
    assert(conn.readable === Reflect.get(own, "readable", conn));
    assert(conn.writable === Reflect.get(own, "writable", conn));
  },
);

testOver(
  "showAddrs() shows others, and realRemoteAddr() does not",
  async (transport) => {
    using pair = await pairOn(transport);
    const { conn } = pair;
    const real = conn.remoteAddr;
    const addr = (port: number) =>
      ({ transport: "tcp", hostname: "192.0.2.1", port }) as const;
    const header = { ...LOCAL, source: addr(1), destination: addr(2) };
    showAddrs(stateOf(conn), header);
    assertEquals([conn.remoteAddr, conn.localAddr], [addr(1), addr(2)]);
    assertEquals(realRemoteAddr(conn), real);
  },
);

testOver("timeOut() ends every operation with TimedOut", async (transport) => {
  using pair = await pairOn(transport);
  const { conn, client } = pair;
  const state = stateOf(conn);
  limitIdling(state, new Sweep(Infinity, timeOut));
  const read = conn.read(new Uint8Array(1));
  const writer = conn.writable.getWriter();
  const write = writer.write(new Uint8Array(1 << 26)); // more than there is room for
  writer.closed.catch(() => {});
  await turns();
  state.timeOut();
  await assertRejects(() => read, Deno.errors.TimedOut);
  await assertRejects(() => write, Deno.errors.TimedOut);
  await assertRejects(() => writer.closed, Deno.errors.TimedOut);
  assertThrows(() => conn.close(), Deno.errors.BadResource);
  client.close();
}, !CLOSE_ENDS_WRITES);

Deno.test("what only reading ahead needs is there once something is read ahead", async () => {
  using pair = await pairOn(tcp);
  const { conn, client } = pair;
  const state = stateOf(conn);
  const sweep = new Sweep(60_000, timeOut);
  sweep.end(); // its timer goes with the last wait
  limitIdling(state, sweep);
  assertEquals(state.ahead, undefined);
  await say(client, "hello");
  assertEquals(await readText(conn), "hello");
  assertEquals(state.ahead, undefined);
  await say(client, "world");
  await readAhead(conn);
  assert(state.ahead !== undefined);
  assertEquals(await readText(conn), "world");
  assertEquals(state.ahead, undefined); // its buffer is another's
});

Deno.test("a covered connection without bytes ahead can be given to Deno.serveHttp()", async () => {
  interface HttpConn extends AsyncIterable<HttpEvent> {
    close(): void;
  }
  interface HttpEvent {
    respondWith(response: Response): Promise<void>;
  }
  const { serveHttp } = Deno as unknown as {
    serveHttp?: (conn: Deno.Conn) => HttpConn;
  };
  if (serveHttp === undefined) return; // not every version has it
  using listening = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const answer = fetch(`http://127.0.0.1:${listening.addr.port}`);
  const conn = await listening.accept();
  showAddrs(stateOf(conn), LOCAL);
  const http = serveHttp(conn);
  for await (const event of http) {
    await event.respondWith(new Response("hello"));
    break;
  }
  assertEquals(await (await answer).text(), "hello");
  http.close();
});

Deno.test("a covered connection keeps the process alive by ref() only", async () => {
  const front = new URL("../../internal/conn/front.ts", import.meta.url).href;
  for (const [verb, shown] of [["unref", "end"], ["ref", "end\ngone"]]) {
    const { stdout, stderr, code } = await runProgram(`
      const { readAhead, showAddrs, stateOf } = await import(${
      JSON.stringify(front)
    });
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const client = await Deno.connect({ port: listener.addr.port });
      const conns = [await listener.accept()];
      showAddrs(stateOf(conns[0]), {});
      const other = await Deno.connect({ port: listener.addr.port });
      conns.push(await listener.accept());
      readAhead(stateOf(conns[1]));
      listener.unref();
      for (const conn of conns) {
        conn.unref();
        conn.${verb}();
        conn.read(new Uint8Array(1)).catch(() => {});
      }
      const timer = setTimeout(() => {
        console.log("gone");
        Deno.exit();
      }, ${verb === "ref" ? 300 : 30_000});
      Deno.unrefTimer(timer);
      console.log("end");`);
    assertEquals([code, stdout, stderr], [0, shown, ""]);
  }
});
