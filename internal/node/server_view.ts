/** A server of Node's as the connections of one listener see it. */
import { EventEmitter } from "node:events";
import type { Server } from "node:net";

type EventName = string | symbol;
/** Called before the server is; true if the event ends here. */
type Intercept = (event: EventName, args: readonly unknown[]) => boolean;

/**
 * Makes an object that is the server in everything, except that it can hear what the
 * connections say to the server, and that it listens: Deno takes a server that does not
 * for one that has been closed, and ends its keep-alive connections. The server itself is
 * not changed, because other listeners may serve with it.
 *
 * @param server The server, or a view of it.
 * @param intercept Called for each event of the view.
 * @param own More properties of the view.
 */
export function viewOf<S extends Server>(
  server: S,
  intercept: Intercept,
  own: PropertyDescriptorMap = {},
): S {
  return Object.create(server, {
    ...own,
    listening: { value: true },
    emit: {
      value: (event: EventName, ...args: unknown[]) =>
        intercept(event, args) || server.emit(event as string, ...args),
    },
  });
}

/** Calls the server's listeners of an event with the view as their `this`. */
export function emitOn(
  view: Server,
  event: string,
  ...args: unknown[]
): boolean {
  return Reflect.apply(EventEmitter.prototype.emit, view, [event, ...args]);
}
