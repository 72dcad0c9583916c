/**
 * The file of a Unix socket. When Deno closes the socket, it removes the file at the
 * path, even if another process has put its own socket there. So a file that may not be
 * ours gets a second name before the close, and is put back afterwards.
 */

/** The file at the path of a socket. */
export class SocketFile {
  readonly #path: string;
  /** Unknown for a socket that is not new: another process may have taken the path over. */
  readonly #own: string | undefined;

  /**
   * @param path Where the socket was made.
   * @param isNew Whether the socket was made just now.
   */
  constructor(path: string, isNew: boolean) {
    this.#path = path;
    this.#own = isNew ? fileId(path) : undefined;
  }

  /**
   * To be called before the socket is closed. Gives the file at the path a second
   * name, unless it is the socket's own.
   *
   * @returns A function to call after the close. It puts the file back if it is another
   * process's, unless there is a new file at the path. Never throws.
   */
  setAside(): () => Promise<void> {
    const now = fileId(this.#path);
    const aside = `${this.#path}.${crypto.randomUUID()}`;
    const isOurs = now === this.#own;
    const mayTell = this.#own !== undefined || mayConnect(aside);
    if (now === undefined || isOurs || !mayTell || !mayChange(aside)) {
      return () => Promise.resolve();
    }
    try {
      Deno.linkSync(this.#path, aside);
    } catch {
      return () => Promise.resolve(); // it went away, or there are no links here
    }
    return async () => {
      const isOurs = this.#own === undefined && !await isInUse(aside);
      if (isOurs || putBack(aside, this.#path)) remove(aside);
    };
  }
}

/** Whether a file is in use now that our own socket is closed: then it is not ours. */
async function isInUse(path: string): Promise<boolean> {
  try {
    if (!Deno.lstatSync(path).isSocket) return true;
    const conn = await Deno.connect({ transport: "unix", path });
    conn.close();
    return true;
  } catch (error) {
    // No process listens on it. With a full queue, for example, the error is another.
    return !(error instanceof Deno.errors.ConnectionRefused ||
      error instanceof Deno.errors.NotFound);
  }
}

/** Returns whether there is a file at the path again, this one or a newer one. */
function putBack(aside: string, path: string): boolean {
  try {
    Deno.linkSync(aside, path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return true;
    console.warn(`Cannot put ${aside} back to ${path}:`, error);
    return false;
  }
  return true;
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    console.warn(`Cannot remove ${path}:`, error);
  }
}

/** Identifies the file at a path, if there is one and it may be read. */
function fileId(path: string): string | undefined {
  if (!isGranted("read", path)) return undefined;
  try {
    const { dev, ino } = Deno.lstatSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined; // removed, or an abstract name that is no file
  }
}

/** Whether files may be linked, for which Deno needs both permissions. Never prompts. */
function mayChange(path: string): boolean {
  return isGranted("read", path) && isGranted("write", path);
}

function mayConnect(path: string): boolean {
  try {
    const permission = { name: "net", host: `unix:${path}` } as const;
    return Deno.permissions.querySync(permission).state === "granted";
  } catch {
    return false; // older versions of Deno refuse such a host
  }
}

function isGranted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}

/** Adds to the error `AddrInUse` what the user can do. */
export function explainAddrInUse(error: unknown, path: string): unknown {
  if (!(error instanceof Deno.errors.AddrInUse)) return error;
  return Object.assign(
    new Deno.errors.AddrInUse(
      `${error.message}: Cannot listen on '${path}' as the file exists already: if no process listens on it any more, remove it first`,
      { cause: error },
    ),
    { code: "EADDRINUSE" },
  );
}
