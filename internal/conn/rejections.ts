import { dispose } from "./close.ts";
import { isPromise, print } from "../util/hooks.ts";

/** How long a rejected connection may stay open for a reply, in ms. */
const REPLY_TIMEOUT = 1000;
/** How many may be open at once. Without a limit, clients could keep connections this way. */
const MAX_REPLIES = 64;

/** The buffer for what rejected clients still send. Nothing reads it. */
const DROPPED = new Uint8Array(16 * 1024);

/** Closes rejected connections, after a last line if the program sends one. */
export class Rejections {
  #open = 0;
  #allClosed: PromiseWithResolvers<void> | undefined;

  /**
   * Closes a connection: at once, or after its reply if `reply` returns a promise.
   *
   * @param onClosed Called when it is closed later.
   * @returns Whether it is closed.
   */
  close(conn: Deno.Conn, reply: () => unknown, onClosed: () => void): boolean {
    const replied = this.#call(reply);
    if (replied === undefined || this.#open >= MAX_REPLIES) {
      dispose(conn);
      return true;
    }
    this.#closeAfter(replied, conn).then(onClosed);
    return false;
  }

  /** Calls the hook. What it throws, at once or later, changes nothing. */
  #call(reply: () => unknown): Promise<unknown> | undefined {
    try {
      const replied = reply();
      return isPromise(replied)
        ? Promise.resolve(replied).catch(() => {})
        : undefined;
    } catch (error) {
      print(console.error, "Error in a hook of a listener:", error);
    }
  }

  async #closeAfter(replied: Promise<unknown>, conn: Deno.Conn): Promise<void> {
    this.#open++;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, REPLY_TIMEOUT);
    await Promise.race([replied.then(() => waitForEnd(conn)), late.promise]);
    clearTimeout(timer);
    dispose(conn);
    if (--this.#open > 0) return;
    this.#allClosed?.resolve();
    this.#allClosed = undefined;
  }

  /** Resolves when no reply is under way. */
  async done(): Promise<void> {
    if (this.#open > 0) {
      await (this.#allClosed ??= Promise.withResolvers()).promise;
    }
  }
}

/**
 * Sends a FIN, and discards what comes until the client's own FIN. Closing a connection
 * with unread bytes resets it, and then the client loses what it has not read.
 */
async function waitForEnd(conn: Deno.Conn): Promise<void> {
  try {
    await conn.closeWrite();
    while (await conn.read(DROPPED) !== null);
  } catch {
    // The connection is closed, or the client has reset it.
  }
}
