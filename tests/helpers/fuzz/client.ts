import { assert, assertEquals } from "@std/assert";
import { bytes } from "../proxy_headers.ts";
import { ScriptedConn } from "../scripted.ts";

/** Chooses a number from 0 to below a limit. */
export type Choose = (limit: number) => number;

const HEADERS = [1, 2].map((peer) =>
  `PROXY TCP4 192.0.2.${peer} 192.0.2.255 1 2\r\n`
);
const NO_HEADERS = ["nonsense\r\n", ""];

/** A client: what it has sent, and what was seen of its connection. */
export class FuzzClient {
  readonly conn: ScriptedConn;
  readonly #header: number[];
  readonly #left: number[]; // of the header
  readonly #payload: number[] = [];
  readonly #heard: number[] = [];
  #hasEnded = false;
  /** Whether an accept has brought its connection. */
  isAccepted = false;
  /** How often its connection was delivered, and rejected. */
  deliveries = 0;
  rejections = 0;
  /** Whether anything may close its connection, since it was delivered. */
  mayBeClosed = true;
  /** Whether the listener that has delivered its connection has an idleTimeout. */
  isIdling = false;

  /** @param isGood Whether it begins as a client behind a proxy does, in any case. */
  constructor(port: number, choose: Choose, isGood: boolean) {
    const hostname = `127.0.0.${1 + choose(2)}`;
    this.conn = new ScriptedConn(port, () => choose(4), hostname);
    const headers = isGood || choose(4) > 0 ? HEADERS : NO_HEADERS;
    this.#header = [...bytes(headers[choose(2)]!)];
    this.#left = this.#header.slice();
  }

  /** Whether its connection has been accepted, and nothing has become of it. */
  get isInside(): boolean {
    return this.isAccepted && this.isUndecided;
  }

  /** Whether its connection was neither closed, nor rejected, nor delivered. */
  get isUndecided(): boolean {
    return this.deliveries === 0 && this.rejections === 0 && this.conn.isOpen;
  }

  // What it does

  /** Sends some of its header, or the rest, or a byte more. */
  speak(choose: Choose): void {
    if (this.#hasEnded) return;
    if (this.#left.length === 0) return this.#say(1 + choose(255));
    const length = choose(3) === 0 ? choose(30) : this.#left.length;
    this.conn.say(this.#left.splice(0, length));
  }

  /** Does all that a listener may wait for. */
  speakOut(): void {
    this.conn.shake(true);
    if (this.#hasEnded) return;
    this.conn.say(this.#left.splice(0));
    this.#say(255);
  }

  #say(byte: number): void {
    this.#payload.push(byte);
    this.conn.say([byte]);
  }

  end(): void {
    this.#hasEnded = true;
    this.conn.end();
  }

  // What its connection is

  /** @param isIdling Whether it is to be closed when its client says nothing. */
  onDelivery(mayBeClosed: boolean, isIdling: boolean): void {
    assertEquals(++this.deliveries, 1, "delivered twice");
    assertEquals(this.rejections, 0, "rejected, and delivered");
    assert(this.conn.isOpen, "closed, and delivered");
    this.mayBeClosed = mayBeClosed || isIdling;
    this.isIdling = isIdling;
    this.#listen();
  }

  onReject(): void {
    assertEquals(++this.rejections, 1, "rejected twice");
    assertEquals(this.deliveries, 0, "delivered, and rejected");
    assert(this.conn.isOpen, "closed, and rejected");
  }

  async #listen(): Promise<void> {
    const buffer = new Uint8Array(16);
    try {
      for (let length; (length = await this.conn.read(buffer)) !== null;) {
        this.#heard.push(...buffer.subarray(0, length));
      }
    } catch {
      return; // it was closed
    }
    assert(this.#hasEnded, "the end was read before there was one");
  }

  /** Fails if what was read is not what was sent: all of it, or without the header. */
  check(): void {
    if (this.deliveries === 0) return;
    assert(this.conn.isOpen || this.mayBeClosed, "closed, by nobody");
    const sent = this.#header.slice(0, this.#header.length - this.#left.length);
    const heard = this.#heard.join();
    const texts = [[...sent, ...this.#payload], this.#payload];
    const isRight = texts.some((text) => {
      const end = this.conn.isOpen ? text.length : this.#heard.length;
      return text.slice(0, end).join() === heard;
    });
    assert(isRight, `heard ${heard} of ${sent} ${this.#payload}`);
  }
}
