/** The replies of RESP2, the protocol of Redis. */
import { resize } from "./bytes.ts";

/** The result of a command: a status line, an integer, a bulk string, null or an array. */
export type Reply = string | number | Uint8Array | null | Reply[];

const CHUNK = 16 * 1024;

/** Collects replies, to write them at once. */
export class Replies {
  #bytes = new Uint8Array(CHUNK);
  #length = 0;

  /** The number of bytes to write. */
  get length(): number {
    return this.#length;
  }

  add(reply: Reply): void {
    if (reply === null) this.#line("$-1");
    else if (typeof reply === "string") this.#line(reply);
    else if (typeof reply === "number") this.#line(`:${reply}`);
    else if (reply instanceof Uint8Array) this.#bulk(reply);
    else {
      this.#line(`*${reply.length}`);
      for (const item of reply) this.add(item);
    }
  }

  async write(conn: Deno.Conn): Promise<void> {
    for (let sent = 0; sent < this.#length;) {
      sent += await conn.write(this.#bytes.subarray(sent, this.#length));
    }
    this.#length = 0;
    if (this.#bytes.length > CHUNK) this.#bytes = resize(this.#bytes, CHUNK);
  }

  #bulk(value: Uint8Array): void {
    this.#line(`$${value.length}`);
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    this.#line("");
  }

  #line(line: string): void {
    this.#room(line.length + 2);
    for (let i = 0; i < line.length; i++) {
      this.#bytes[this.#length++] = line.charCodeAt(i);
    }
    this.#bytes[this.#length++] = 13;
    this.#bytes[this.#length++] = 10;
  }

  #room(length: number): void {
    const needed = this.#length + length, size = this.#bytes.length;
    if (needed > size) {
      this.#bytes = resize(this.#bytes, Math.max(needed, 2 * size));
    }
  }
}
