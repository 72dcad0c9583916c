import { dispose } from "./close.ts";
import { isPromise, print } from "../util/hooks.ts";

/** How long a last line may take, in ms. */
const MAX_TIME = 1000;
/** How many may be under way at once: more would be a means to keep connections. */
const MAX_LINES = 64;

/** Connections that are turned away, and may be told why first. */
export class LastLines {
  #underWay = 0;
  #done: PromiseWithResolvers<void> | undefined;

  /**
   * Closes a connection: at once, or when the promise settles that `say` returns.
   *
   * @param onClosed Told when it is closed later.
   * @returns Whether it is closed.
   */
  close(conn: Deno.Conn, say: () => unknown, onClosed: () => void): boolean {
    const said = this.#say(say);
    if (said === undefined || this.#underWay >= MAX_LINES) {
      dispose(conn);
      return true;
    }
    this.#wait(conn, said).then(onClosed);
    return false;
  }

  /** Whatever it throws changes nothing, at once or later. */
  #say(say: () => unknown): Promise<unknown> | undefined {
    try {
      const said = say();
      return isPromise(said)
        ? Promise.resolve(said).catch(() => {})
        : undefined;
    } catch (error) {
      print(console.error, "Error in a hook of a listener:", error);
    }
  }

  async #wait(conn: Deno.Conn, said: Promise<unknown>): Promise<void> {
    this.#underWay++;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, MAX_TIME);
    // A close with unread bytes is a reset, which can eat the line: the FIN goes first.
    const ended = said.then(() => conn.closeWrite()).catch(() => {});
    await Promise.race([ended, late.promise]);
    clearTimeout(timer);
    dispose(conn);
    if (--this.#underWay === 0) this.#done?.resolve();
  }

  /** Resolves when none is under way. */
  async done(): Promise<void> {
    if (this.#underWay > 0) {
      await (this.#done ??= Promise.withResolvers()).promise;
    }
  }
}
