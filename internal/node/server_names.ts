/** The callback that picks a certificate by the name that a client asks for. */
import { Buffer } from "node:buffer";
import type { SecureContext, TlsOptions, TLSSocket } from "node:tls";
import { toError } from "../util/failures.ts";
import type { Wire } from "./wire.ts";

/** The `SNICallback` of `node:tls`. */
export type SniCallback = NonNullable<TlsOptions["SNICallback"]>;

const NOTHING = Buffer.alloc(0);

/**
 * Makes a `SNICallback` do in Deno what it does in Node. Deno calls it also for a client
 * that asks for no name, and ends the process if it throws. When it answers late, Deno
 * sends nothing until the client does.
 *
 * @param callback The callback of the server.
 * @param wire The connection.
 * @param onContext Called with the context that the callback has picked.
 */
export function pickContext(
  callback: SniCallback,
  wire: Wire,
  onContext: (context: SecureContext) => void,
): SniCallback {
  return (name, answer) => {
    let isAnswered = false;
    let isLate = false;
    const answerOnce = (error: Error | null, context?: SecureContext) => {
      if (isAnswered) return;
      isAnswered = true;
      if (error === null && context) onContext(context);
      answer(error, context);
      if (isLate && !wire.destroyed) wire.emit("data", NOTHING);
    };
    if (name === "") return answerOnce(null);
    Promise.try(callback, name, answerOnce)
      .catch((error) => answerOnce(toError(error)));
    isLate = true;
  };
}

/** The name that the client has asked for, if any. */
export function serverNameOf(socket: TLSSocket): string | undefined {
  return (socket as { servername?: string | null }).servername ?? undefined;
}
