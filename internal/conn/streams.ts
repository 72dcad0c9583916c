/** Streams such as Deno's own connections have, over `read()` and `write()`. */
import { dispose } from "./close.ts";

/** How much is read at a time, in bytes, as in Deno. */
const CHUNK_SIZE = 64 * 1024;

/** A stream such as `conn.readable`. At its end, it closes the connection. */
export function readableOf(
  conn: Deno.Conn,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    type: "bytes",
    autoAllocateChunkSize: CHUNK_SIZE,
    async pull(controller) {
      const request = controller.byobRequest!;
      try {
        const length = await conn.read(request.view as Uint8Array);
        if (length === null) {
          dispose(conn);
          controller.close();
        }
        request.respond(length ?? 0);
      } catch (error) {
        dispose(conn);
        controller.error(error);
      }
    },
    cancel() {
      dispose(conn);
    },
  });
}

/** A stream such as `conn.writable`. Closing it closes the connection. */
export function writableOf(
  conn: Deno.Conn,
): WritableStream<BufferSource> {
  return new WritableStream<BufferSource>({
    async write(chunk, controller) {
      try {
        await writeAll(conn, bytesOf(chunk));
      } catch (error) {
        dispose(conn);
        controller.error(error);
        throw error;
      }
    },
    close() {
      dispose(conn);
    },
    abort() {
      dispose(conn);
    },
  });
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    sent += await conn.write(bytes.subarray(sent));
  }
}

function bytesOf(chunk: BufferSource): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (ArrayBuffer.isView(chunk)) {
    return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  throw new TypeError("Cannot write what is no ArrayBuffer or a view of one");
}
