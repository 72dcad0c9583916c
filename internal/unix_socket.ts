/**
 * The file of a Unix socket. Deno removes whatever is at the path when it closes
 * the socket, also the socket of a process that has taken the path over. So a file
 * that is not ours gets a second name before, and is put back after.
 */

/** Remembers which file a socket has. */
export class SocketFile {
  readonly #path: string;
  readonly #own: string | undefined;

  /** @param path Where a socket has just been made. */
  constructor(path: string) {
    this.#path = path;
    this.#own = fileId(path);
  }

  /**
   * To be called before the socket is closed. If somebody else's file is at the
   * path, gives it a second name.
   *
   * @returns What to do after the socket is closed: puts that file back, unless
   * there is a third one by then.
   */
  setAside(): () => void {
    const now = fileId(this.#path);
    const aside = `${this.#path}.${crypto.randomUUID()}`;
    if (now === undefined || now === this.#own || !mayChange(aside)) {
      return () => {};
    }
    try {
      Deno.linkSync(this.#path, aside);
    } catch {
      return () => {}; // it went away, or this file system has no links
    }
    return () => putBack(aside, this.#path);
  }
}

function putBack(aside: string, path: string): void {
  try {
    Deno.linkSync(aside, path);
    Deno.removeSync(aside);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) Deno.removeSync(aside);
    else console.warn(`Cannot put ${aside} back to ${path}:`, error);
  }
}

/** Says which file is at a path, if there is one and it may be looked at. */
function fileId(path: string): string | undefined {
  if (!isGranted("read", path)) return undefined;
  try {
    const { dev, ino } = Deno.lstatSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined; // removed, or an abstract name that is no file
  }
}

/** Deno asks for both to link files. Never prompts. */
function mayChange(path: string): boolean {
  return isGranted("read", path) && isGranted("write", path);
}

function isGranted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}

/** Adds to `AddrInUse` what there is to do about it. */
export function explainAddrInUse(error: unknown, path: string): unknown {
  if (!(error instanceof Deno.errors.AddrInUse)) return error;
  return Object.assign(
    new Deno.errors.AddrInUse(
      `Cannot listen on '${path}' as the file exists already: if no process listens on it any more, remove it first`,
      { cause: error },
    ),
    { code: "EADDRINUSE" },
  );
}
