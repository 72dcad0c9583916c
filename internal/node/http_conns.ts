/** The HTTP connections of one listener, and how they end when it drains. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { LAST_CALL } from "./last_call.ts";

/** Where a socket keeps its connection. */
const CONN = Symbol("HTTP connection");

/** What `node:http` reads from and writes to: a socket, or what decrypts it. */
export interface HttpSocket extends Duplex {
  destroySoon(): void;
  [CONN]?: HttpConn;
}

/** The connection below an `HttpSocket`, or itself. */
export interface Below {
  readonly bytesRead: number;
  readonly finished: Promise<void>;
}

/**
 * Follows the requests of all connections. When the listener drains, a connection ends
 * with its last answer, which says so, and one that waits for a request waits for
 * `LAST_CALL`.
 */
export class HttpConns {
  readonly #signal: AbortSignal;
  readonly #conns: HttpConn[] = [];

  /** @param signal Aborted when the connections are to end. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => {
      for (const conn of this.#conns) conn.drain();
    });
  }

  /**
   * Follows a new connection.
   *
   * @param socket What `node:http` gets.
   * @param below The connection below it.
   */
  add(socket: HttpSocket, below: Below): void {
    const conn = new HttpConn(socket, below, this.#conns.length);
    socket[CONN] = conn;
    this.#conns.push(conn);
    below.finished.then(() => this.#remove(conn));
    if (this.#signal.aborted) conn.drain();
  }

  /** A request has come, perhaps on a connection of another listener. */
  request(request: IncomingMessage, response: ServerResponse): void {
    const conn = (request.socket as HttpSocket)[CONN];
    if (conn === undefined) return;
    conn.begin(request, response);
    response.on("close", () => conn.end());
  }

  #remove(conn: HttpConn): void {
    conn.forget();
    const last = this.#conns.pop()!;
    if (last === conn) return;
    this.#conns[conn.place] = last;
    last.place = conn.place;
  }
}

/** One connection: its requests that have not been answered. */
class HttpConn {
  /** Where it is in the list of all. */
  place: number;
  readonly #socket: HttpSocket;
  readonly #below: Below;
  #isDraining = false;
  /** How many requests are being answered. */
  #open = 0;
  #request: IncomingMessage | undefined;
  #response: ServerResponse | undefined;
  /** Whether the client wants the connection kept after that response. */
  #isKept = true;
  /** How many bytes had come when the last request was complete. */
  #bytes: number;
  #lastCall: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: HttpSocket, below: Below, place: number) {
    this.#socket = socket;
    this.#below = below;
    this.place = place;
    this.#bytes = below.bytesRead;
  }

  begin(request: IncomingMessage, response: ServerResponse): void {
    // The response before it is not the last one any more.
    if (this.#isDraining) this.#keep(this.#isKept);
    this.#open++;
    this.#request = request;
    this.#response = response;
    this.#isKept = response.shouldKeepAlive;
    this.#bytes = this.#below.bytesRead;
    if (this.#isDraining) this.#keep(false);
  }

  end(): void {
    this.#open--;
    if (this.#open > 0) return;
    const request = this.#request!;
    this.#request = this.#response = undefined;
    if (hasBody(request)) this.#bytes = this.#below.bytesRead;
    readOn(request);
    if (this.#isDraining) this.#waitForLast();
  }

  drain(): void {
    this.#isDraining = true;
    if (this.#open > 0) this.#keep(false);
    else this.#waitForLast();
  }

  /** Says in the head of the response whether the connection is kept, if it can. */
  #keep(isKept: boolean): void {
    if (this.#response) this.#response.shouldKeepAlive = isKept;
  }

  /** Ends the connection, unless the client begins a request soon. */
  #waitForLast(): void {
    clearTimeout(this.#lastCall);
    this.#lastCall = setTimeout(() => {
      // Of an upgraded connection, more has come than requests.
      const isSilent = this.#below.bytesRead === this.#bytes;
      if (this.#open === 0 && isSilent) this.#socket.destroySoon();
    }, LAST_CALL);
  }

  forget(): void {
    clearTimeout(this.#lastCall);
    this.#isDraining = false;
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["content-length"] !== undefined ||
    headers["transfer-encoding"] !== undefined;
}

/**
 * Reads what is left of a request whose body nobody reads any more. The next request is
 * behind it.
 */
function readOn(request: IncomingMessage): void {
  const isUnread = !request.complete && request.listenerCount("data") === 0 &&
    request.listenerCount("readable") === 0;
  if (isUnread) request.resume();
}
