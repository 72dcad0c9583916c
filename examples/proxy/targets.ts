/** The targets of the proxy: addresses, and the file that lists them. */

/** A host and a port. */
export interface Address {
  hostname: string;
  port: number;
}

/** How long a target may take to answer, in ms. */
const PATIENCE = 5000;
/** How long after its last change a file is complete, in ms. */
const SETTLED = 50;

/** Parses `HOST:PORT`. Without a host it takes the default, if there is one. */
export function parseAddress(text: string, defaultHost?: string): Address {
  const match = /^(?:(?:\[(.+)\]|([^:]+)):)?(\d{1,5})$/.exec(text);
  const hostname = match?.[1] ?? match?.[2] ?? defaultHost;
  const port = Number(match?.[3]);
  if (!hostname || !(port <= 65535)) {
    throw new Error(`Invalid address: ${JSON.stringify(text)}`);
  }
  return { hostname, port };
}

/** Parses addresses. There must be at least one. */
export function parseTargets(words: string[]): Address[] {
  if (words.length === 0) throw new Error("No target is given");
  return words.map((word) => parseAddress(word));
}

/** Reads a file with one address a line. */
export function readTargets(file: string): Address[] {
  const lines = Deno.readTextFileSync(file).split("\n");
  return parseTargets(lines.map((line) => line.trim()).filter((line) => line));
}

let turn = 0;

/** Connects to the first target that answers. Each call begins with the next target. */
export async function dial(
  targets: Address[],
): Promise<Deno.TcpConn | undefined> {
  const start = turn++;
  for (const i of targets.keys()) {
    const target = targets[(start + i) % targets.length]!;
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      return await Deno.connect({ ...target, signal });
    } catch {
      // Try the next target.
    }
  }
}

/** Calls back after each change of a file, until the signal is aborted. */
export function watchFile(
  file: string,
  changed: () => void,
  signal: AbortSignal,
): void {
  // The folder is watched because an editor may replace the file by a new one.
  const [, folder, name] = /^(.*?)([^/\\]*)$/s.exec(file)!;
  const watcher = Deno.watchFs(folder || ".", { recursive: false });
  signal.addEventListener("abort", () => watcher.close());
  let timer: ReturnType<typeof setTimeout> | undefined;
  (async () => {
    for await (const { kind, paths } of watcher) {
      if (kind === "access") continue; // the file was only read
      if (!paths.some((path) => path.split(/[/\\]/).at(-1) === name)) continue;
      clearTimeout(timer);
      timer = setTimeout(changed, SETTLED);
    }
  })();
}
