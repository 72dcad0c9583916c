/** The guests of the chat. */

/** The longest line, in bytes. */
const MAX_LINE = 4096;
/** Who is behind by more than so many bytes is dropped. */
const MAX_BEHIND = 256 * 1024;

let guestsSoFar = 0;

/** Somebody who is connected: what they send as lines, what they are sent as a queue. */
export class Guest {
  readonly name = `guest ${++guestsSoFar}`;
  readonly #conn: Deno.Conn;
  #outbox: Uint8Array[] = [];
  #behind = 0;
  #writing = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Queues a line. Nobody waits for a guest who is slow to read. */
  send(line: Uint8Array): void {
    this.#outbox.push(line);
    this.#behind += line.length;
    if (this.#behind > MAX_BEHIND) this.drop();
    else if (!this.#writing) this.#write().catch(() => this.drop());
  }

  async #write() {
    this.#writing = true;
    for (let line; (line = this.#outbox.shift());) {
      for (let sent = 0; sent < line.length;) {
        sent += await this.#conn.write(line.subarray(sent));
      }
      this.#behind -= line.length;
    }
    this.#writing = false;
  }

  /** Ends the connection, whatever it is at. */
  drop(): void {
    this.#outbox = [];
    this.#conn[Symbol.dispose]();
  }

  /** The lines that the guest sends, until it leaves. */
  async *lines(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(MAX_LINE);
    let end = 0;
    // With a line that fills the buffer there is no room: that reads 0 bytes.
    for (let length; (length = await this.#conn.read(buffer.subarray(end)));) {
      end += length;
      let start = 0;
      for (let lf; (lf = buffer.subarray(0, end).indexOf(10, start)) >= 0;) {
        yield buffer.subarray(start, start = lf + 1);
      }
      buffer.copyWithin(0, start, end);
      end -= start;
    }
  }
}
