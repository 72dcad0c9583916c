/**
 * A client's first byte (LEV_OPT_DEFERRED_ACCEPT). The kernel could wait for it
 * itself (TCP_DEFER_ACCEPT), but Deno does not expose that. So the first bytes are
 * read here, and put back in front of the connection.
 */

/**
 * The size of the first read, in bytes. One would do; this much holds a short
 * request whole, so that a handler's first read is as long as it would have been.
 */
const FIRST_READ = 1024;

/** Resolves when a client has spoken, with whether it has; false is its end. */
export async function firstByte(conn: Deno.Conn): Promise<boolean> {
  const first = readSome(conn);
  unread(conn, first);
  return await first.catch(() => null) !== null;
}

async function readSome(conn: Deno.Conn): Promise<Uint8Array | null> {
  const buffer = new Uint8Array(FIRST_READ);
  const length = await conn.read(buffer);
  return length === null ? null : buffer.subarray(0, length);
}

/**
 * Makes a connection give the bytes of a read that was too early before any
 * others. It stays the object that it is: two of its members are covered until
 * the bytes are gone, and everything else is Deno's.
 */
function unread(conn: Deno.Conn, first: Promise<Uint8Array | null>): void {
  first.catch(() => {}); // whoever reads awaits it, and is told
  let taken = 0;
  const read = async (p: Uint8Array): Promise<number | null> => {
    if (p.length === 0) return 0;
    const bytes = await first;
    if (bytes === null) return null;
    if (taken === bytes.length) return conn.read(p); // another read took them
    const part = bytes.subarray(taken, taken + p.length);
    p.set(part);
    taken += part.length;
    if (taken === bytes.length) {
      Reflect.deleteProperty(conn, "read");
      if (stream === undefined) Reflect.deleteProperty(conn, "readable");
    }
    return part.length;
  };
  let stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  Object.defineProperties(conn, {
    read: { configurable: true, value: read },
    readable: { configurable: true, get: () => stream ??= readableOf(conn) },
  });
}

/** A stream such as `conn.readable`, over `conn.read()`. */
function readableOf(conn: Deno.Conn): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    type: "bytes",
    autoAllocateChunkSize: 64 * 1024,
    async pull(controller) {
      const request = controller.byobRequest!;
      try {
        const length = await conn.read(request.view as Uint8Array);
        if (length === null) {
          conn[Symbol.dispose]();
          controller.close();
        }
        request.respond(length ?? 0);
      } catch (error) {
        conn[Symbol.dispose]();
        controller.error(error);
      }
    },
    cancel() {
      conn[Symbol.dispose]();
    },
  });
}
