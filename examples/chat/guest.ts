/** The guests of the chat. */

/** The longest line, in bytes. */
const MAX_LINE = 4096;
/** A guest with more unsent bytes than this is disconnected. */
const MAX_BEHIND = 256 * 1024;
/** How long the others wait for a guest with half as many, in ms. */
const PATIENCE = 1000;

let guestsSoFar = 0;

/** A client of the chat: its lines, and a queue of what is sent to it. */
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

  /** Queues bytes for sending. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#outbox.push(bytes);
    this.#behind += bytes.length;
    if (this.#behind > MAX_BEHIND) this.drop();
    else this.#writing ??= this.#write().catch(() => this.drop());
  }

  /** Writes all queued bytes at once, until the queue is empty. */
  async #write() {
    while (this.#outbox.length > 0) {
      const bytes = await new Blob(this.#outbox.splice(0)).bytes();
      await this.#writer.write(bytes);
      this.#behind -= bytes.length;
    }
    this.#writing = undefined;
  }

  /** Waits for a guest that reads slowly, and disconnects it if that takes too long. */
  async catchUp(): Promise<void> {
    if (this.#behind < MAX_BEHIND / 2) return;
    const timer = setTimeout(() => this.drop(), PATIENCE);
    await this.#writing;
    clearTimeout(timer);
  }

  /** Closes the connection. */
  drop(): void {
    this.#outbox = [];
    this.#conn[Symbol.dispose]();
  }

  /** The lines that the guest sends. */
  async *lines(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(MAX_LINE);
    let end = 0;
    // If a line fills the buffer, there is no room left and read() returns 0.
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
    // The last line may have no line feed.
    if (end > 0 && end < MAX_LINE) yield buffer.subarray(0, end);
  }
}
