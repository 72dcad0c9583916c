/**
 * The file of a Unix socket. Deno removes whatever is at the path when it closes
 * the socket, also the socket of a process that has taken the path over. So a file
 * that may not be ours gets a second name before, and is put back after if it is
 * not.
 */

/** Which file a socket has. */
export class SocketFile {
  readonly #path: string;
  /** Unknown for a socket that somebody else has made: its path may have changed hands. */
  readonly #own: string | undefined;

  /**
   * @param path Where the socket was made.
   * @param isNew Whether that was just now.
   */
  constructor(path: string, isNew: boolean) {
    this.#path = path;
    this.#own = isNew ? fileId(path) : undefined;
  }

  /**
   * To be called before the socket is closed. Gives the file at the path a second
   * name, unless it is the socket's own.
   *
   * @returns What to do after the socket is closed: puts the file back if it is
   * somebody else's, unless there is another by then. Never throws.
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
    // Nobody listens on it. With a full queue, say, it is another error.
    return !(error instanceof Deno.errors.ConnectionRefused ||
      error instanceof Deno.errors.NotFound);
  }
}

/** Says whether the file is there again, or is not missed. */
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

/** Adds to `AddrInUse` what there is to do about it. */
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
