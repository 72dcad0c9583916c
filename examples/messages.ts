/** What every example prints in the same way: who connects, and why it cannot go on. */

/** Ends the program with a message. */
export function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

/**
 * Does what may fail, such as to listen, at once or later. If it does, the program ends
 * with the reason.
 */
export function tryTo<T>(what: string, action: () => T): T {
  const giveUp = ({ message }: Error) => {
    // Some messages of the listener's own say it already.
    const isSaid = message.includes("Cannot listen");
    return fail(isSaid ? message : `Cannot ${what}: ${message}`);
  };
  try {
    const result = action();
    return result instanceof Promise ? result.catch(giveUp) as T : result;
  } catch (error) {
    return giveUp(error as Error);
  }
}

/** Prints where a client has connected from, for `--verbose`. */
export function logClient(
  { remoteAddr }: { remoteAddr: Deno.NetAddr | Deno.UnixAddr },
  print = console.log,
): void {
  print(`client ${formatAddress(remoteAddr)}`);
}

/** Writes `127.0.0.1:9876`, `[::1]:9876`, or the path of a Unix socket. */
export function formatAddress(
  address: { hostname: string; port: number } | { path: string },
): string {
  // A client of a Unix socket has no path, unless it takes one.
  if ("path" in address) return address.path || "(unnamed)";
  const { hostname, port } = address;
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}
