/**
 * What is used here of npm:ws. Its own types, npm:@types/ws, would bring another
 * version of Node's types along, for the whole program.
 */
import type { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

/** A WebSocket on the server's side. */
export interface WebSocket extends EventEmitter {
  on(event: "message", on: (data: Uint8Array, isBinary: boolean) => void): this;
  on(event: "error", on: (error: Error) => void): this;
  on(event: "pong", on: () => void): this;
  send(
    data: Uint8Array,
    options: { binary: boolean },
    done: (error?: Error) => void,
  ): void;
  close(code: number): void;
  ping(): void;
  pause(): void;
  resume(): void;
}

/** What speaks with clients once `node:http` has seen their request. */
export class WebSocketServer {
  constructor(options: { noServer: true; maxPayload: number });
  readonly clients: Set<WebSocket>;
  handleUpgrade(
    request: IncomingMessage,
    stream: Duplex,
    head: Uint8Array,
    done: (socket: WebSocket) => void,
  ): void;
}
