/** The size of the read-ahead buffer, in bytes: it holds a short request whole. */
const BUFFER_SIZE = 1024;
/** How many buffers are kept for the next connections. */
const MAX_POOL = 64;
/** Up to this length, in bytes, copying one by one is faster than a call of `set()`. */
const MAX_SHORT = 64;
const pool: Uint8Array<ArrayBuffer>[] = [];
const NO_BYTES = new Uint8Array();

/** Bytes of a connection that were read before the program has asked for them. */
export class ReadAhead {
  #buffer: Uint8Array<ArrayBuffer> | undefined = undefined;
  #start = 0;
  #end = 0;
  /** Settles with the read that is pending, if there is one. Never rejects. */
  reading: Promise<void> | undefined = undefined;
  #failure: { error: unknown } | undefined = undefined;
  /** Whether the client has sent its last byte, or has gone. */
  hasEnded = false;
  /** Whether the program waits for the read that is pending. */
  isAsked = false;

  /** Whether `read()` has nothing to return any more. */
  get isEmpty(): boolean {
    return this.#start === this.#end && this.reading === undefined &&
      this.#failure === undefined;
  }

  /** The bytes that were read ahead, and not read by the program. */
  get bytes(): Uint8Array {
    return this.#buffer?.subarray(this.#start, this.#end) ?? NO_BYTES;
  }

  /** The number of these bytes. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Where the next read puts its bytes. No other read may be pending. */
  room(): Uint8Array<ArrayBuffer> {
    this.#buffer ??= pool.pop() ?? new Uint8Array(BUFFER_SIZE);
    if (this.#end === this.#buffer.length) {
      const larger = new Uint8Array(this.#end * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    return this.#end === 0 ? this.#buffer : this.#buffer.subarray(this.#end);
  }

  /** Must be called when the pending read has returned. */
  settle(length: number | null): void {
    this.reading = undefined;
    this.isAsked = false;
    if (length === null) this.hasEnded = true;
    else if (this.#buffer !== undefined) this.#end += length; // it was not dropped
  }

  /** Must be called when the pending read has failed. */
  fail(error: unknown): void {
    this.#failure = { error };
    this.settle(null);
  }

  /**
   * Returns bytes that are here, or the error of the read that has failed.
   *
   * @returns undefined if there is neither; a read may be pending.
   */
  read(p: Uint8Array): Promise<number | null> | undefined {
    if (this.length > 0) return Promise.resolve(this.#give(p));
    if (this.#failure === undefined) return undefined;
    const { error } = this.#failure;
    this.#failure = undefined;
    return Promise.reject(error);
  }

  #give(p: Uint8Array): number {
    const buffer = this.#buffer!;
    const start = this.#start;
    const length = Math.min(p.length, this.#end - start);
    if (length > MAX_SHORT) p.set(buffer.subarray(start, start + length));
    else for (let i = 0; i < length; i++) p[i] = buffer[start + i]!;
    this.skip(length);
    return length;
  }

  /** Drops the first bytes. */
  skip(length: number): void {
    this.#start += length;
    // While a read is pending, Deno writes into the buffer.
    if (this.#start < this.#end || this.reading !== undefined) return;
    if (this.#buffer?.length === BUFFER_SIZE && pool.length < MAX_POOL) {
      pool.push(this.#buffer);
    }
    this.drop();
  }

  /** Forgets the bytes. The buffer is not used again: Deno may be reading into it. */
  drop(): void {
    this.#buffer = undefined;
    this.#start = this.#end = 0;
  }
}
