/** The guests of the chat. */

/** The longest line, in bytes. */
const MAX_LINE = 4096;
/** Who is behind by more than so many bytes is dropped. */
const MAX_BEHIND = 256 * 1024;
/** How long the others wait for who is half as far behind, in ms. */
const PATIENCE = 1000;

let guestsSoFar = 0;

/** Somebody who is connected: what they send as lines, what they are sent as a queue. */
export class Guest {
  readonly name = `guest ${++guestsSoFar}`;
  readonly #conn: Deno.Conn;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #outbox: Uint8Array<ArrayBuffer>[] = [];
  #behind = 0;
  #writing: Promise<void> | undefined;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    this.#writer = conn.writable.getWriter();
  }

  /** Queues some bytes. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#outbox.push(bytes);
    this.#behind += bytes.length;
    if (this.#behind > MAX_BEHIND) this.drop();
    else this.#writing ??= this.#write().catch(() => this.drop());
  }

  /** Writes all that waits in one go, as long as something does. */
  async #write() {
    while (this.#outbox.length > 0) {
      const bytes = await new Blob(this.#outbox.splice(0)).bytes();
      await this.#writer.write(bytes);
      this.#behind -= bytes.length;
    }
    this.#writing = undefined;
  }

  /** Lets a guest who is far behind catch up, and drops who does not in time. */
  async catchUp(): Promise<void> {
    if (this.#behind < MAX_BEHIND / 2) return;
    const timer = setTimeout(() => this.drop(), PATIENCE);
    await this.#writing;
    clearTimeout(timer);
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
        const line = buffer.subarray(start, lf);
        start = lf + 1;
        yield line;
      }
      buffer.copyWithin(0, start, end);
      end -= start;
    }
    // The last one may go without a line feed.
    if (end > 0 && end < MAX_LINE) yield buffer.subarray(0, end);
  }
}
