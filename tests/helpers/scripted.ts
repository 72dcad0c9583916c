/**
 * A listening socket and connections on which everything settles when a test says so, at
 * a microtask of its choice: moments that real sockets cannot be made to hit.
 */

/** Runs something after so many microtasks; with 0, at once. */
export function after(microtasks: number, run: () => void): void {
  if (microtasks === 0) run();
  else queueMicrotask(() => after(microtasks - 1, run));
}

/** When something settles: after how many microtasks. */
export type Delay = () => number;

const closed = () => new Deno.errors.BadResource("Bad resource ID");
const cancelled = () => new Deno.errors.Interrupted("operation canceled");

/** A connection, as Deno's: its methods are on the prototype. */
export class ScriptedConn implements Deno.TcpConn {
  /** The client's port. */
  readonly number: number;
  readonly #remoteAddr: Deno.NetAddr;
  readonly #delay: Delay;
  #bytes: number[] = [];
  #hasEnd = false;
  #reads: { p: Uint8Array; read: PromiseWithResolvers<number | null> }[] = [];
  #handshake: PromiseWithResolvers<Deno.TlsHandshakeInfo> | undefined;
  #shaken: boolean | undefined;
  isOpen = true;
  isRefed = true;

  /**
   * @param port The client's.
   * @param delay Asked when something settles.
   */
  constructor(port: number, delay: Delay = () => 0, hostname?: string) {
    this.number = port;
    this.#remoteAddr = addrOf(port, hostname);
    this.#delay = delay;
  }

  get remoteAddr(): Deno.NetAddr {
    return this.#remoteAddr;
  }

  get localAddr(): Deno.NetAddr {
    return addrOf(1);
  }

  // What the client does

  /** The client sends bytes. */
  say(bytes: Iterable<number>): void {
    this.#bytes.push(...bytes);
    this.#settle();
  }

  /** The client sends its last byte, or resets. */
  end(): void {
    this.#hasEnd = true;
    this.#settle();
  }

  /** The client's TLS handshake is done, or has failed. */
  shake(isDone: boolean): void {
    this.#shaken ??= isDone;
    this.#settleHandshake();
  }

  /** Whether a read is pending. */
  get isReading(): boolean {
    return this.#reads.length > 0;
  }

  #settle(): void {
    while (this.#bytes.length > 0 || this.#hasEnd) {
      const next = this.#reads.shift();
      if (next === undefined) return;
      const { p, read } = next;
      const bytes = this.#bytes.splice(0, p.length);
      p.set(bytes);
      const result = bytes.length > 0 ? bytes.length : null;
      after(this.#delay(), () => read.resolve(result));
    }
  }

  #settleHandshake(): void {
    const isDone = this.#shaken;
    const handshake = this.#handshake;
    if (isDone === undefined || handshake === undefined) return;
    after(this.#delay(), () => {
      if (isDone) handshake.resolve({ alpnProtocol: null });
      else handshake.reject(new Deno.errors.InvalidData("received corrupt"));
    });
  }

  // What the server does

  read(p: Uint8Array): Promise<number | null> {
    if (!this.isOpen) return Promise.reject(closed());
    const read = Promise.withResolvers<number | null>();
    this.#reads.push({ p, read });
    this.#settle();
    return read.promise;
  }

  write(p: Uint8Array): Promise<number> {
    if (!this.isOpen) return Promise.reject(closed());
    return Promise.resolve(p.length);
  }

  closeWrite(): Promise<void> {
    return this.isOpen ? Promise.resolve() : Promise.reject(closed());
  }

  handshake(): Promise<Deno.TlsHandshakeInfo> {
    if (!this.isOpen) return Promise.reject(closed());
    if (this.#handshake === undefined) {
      this.#handshake = Promise.withResolvers();
      this.#handshake.promise.catch(() => {}); // whoever waits for it is told
      this.#settleHandshake();
    }
    return this.#handshake.promise;
  }

  close(): void {
    if (!this.isOpen) throw closed();
    this.isOpen = false;
    for (const { read } of this.#reads.splice(0)) {
      after(this.#delay(), () => read.reject(cancelled()));
    }
    const handshake = this.#handshake;
    if (handshake) after(this.#delay(), () => handshake.reject(closed()));
  }

  [Symbol.dispose](): void {
    if (this.isOpen) this.close();
  }

  ref(): void {
    this.isRefed = true;
  }

  unref(): void {
    this.isRefed = false;
  }

  setNoDelay(): void {}
  setKeepAlive(): void {}

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    throw new Error("Not needed yet");
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    throw new Error("Not needed yet");
  }
}

function addrOf(port: number, hostname = "127.0.0.1"): Deno.NetAddr {
  return { transport: "tcp", hostname, port };
}

/** A listening socket. Its connections come from a queue, as the kernel's. */
export class ScriptedSocket
  implements Deno.Listener<Deno.TcpConn, Deno.NetAddr> {
  readonly addr: Deno.NetAddr = addrOf(2);
  readonly #delay: Delay;
  readonly #queue: (ScriptedConn | Error)[] = [];
  #pending: PromiseWithResolvers<Deno.TcpConn> | undefined;
  isOpen = true;
  isRefed = true;
  /** How many accepts were begun, and how many of them while another was in flight. */
  accepts = 0;
  busy = 0;
  /** Told that an accept begins. */
  onAccept = () => {};
  /** Told of what an accept brings, and what lets it settle. */
  onSettle = (_outcome: ScriptedConn | Error, settle: () => void) => settle();

  /** @param delay Asked when an accept settles for which something is there. */
  constructor(delay: Delay = () => 0) {
    this.#delay = delay;
  }

  /** Whether an accept is in flight. */
  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /** How many wait in the queue. */
  get queued(): number {
    return this.#queue.length;
  }

  /** A client connects, or the next accept is to fail. */
  bring(outcome: ScriptedConn | Error): void {
    this.#queue.push(outcome);
    if (this.#pending !== undefined && this.#queue.length === 1) this.#settle();
  }

  #settle(): void {
    after(this.#delay(), () => {
      const accept = this.#pending;
      const outcome = this.#queue.shift();
      if (accept === undefined || outcome === undefined) return; // closed meanwhile
      this.#pending = undefined;
      this.onSettle(outcome, () => {
        if (outcome instanceof Error) accept.reject(outcome);
        else accept.resolve(outcome);
      });
    });
  }

  accept(): Promise<Deno.TcpConn> {
    this.accepts++;
    this.onAccept();
    if (!this.isOpen) return Promise.reject(closed());
    if (this.#pending !== undefined) {
      this.busy++;
      return Promise.reject(new Deno.errors.Busy("Another accept is ongoing"));
    }
    const accept = this.#pending = Promise.withResolvers<Deno.TcpConn>();
    // Never before whoever has called can wait for it.
    if (this.#queue.length > 0) queueMicrotask(() => this.#settle());
    return accept.promise;
  }

  close(): void {
    if (!this.isOpen) throw closed();
    this.isOpen = false;
    this.#queue.splice(0);
    const accept = this.#pending;
    this.#pending = undefined;
    if (accept) after(this.#delay(), () => accept.reject(closed()));
  }

  ref(): void {
    this.isRefed = true;
  }

  unref(): void {
    this.isRefed = false;
  }

  // deno-lint-ignore require-yield
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Deno.TcpConn> {
    throw new Error("Not needed yet");
  }

  [Symbol.dispose](): void {
    if (this.isOpen) this.close();
  }
}

/** One that the library takes for a socket of `Deno.listenTls`. */
export class TlsListener extends ScriptedSocket {}
