/** Messages that all examples print: clients, and why the program ends. */

/** Ends the program with a message. */
export function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

/**
 * Runs an action, such as listening. If it throws or rejects, the program ends with a
 * message.
 */
export function tryTo<T>(what: string, action: () => T): T {
  const giveUp = ({ message }: Error) => {
    // Some of the listener's own messages begin in the same way.
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

/** Prints the address of a client, for `--verbose`. */
export function logClient(
  { remoteAddr }: { remoteAddr: Deno.NetAddr | Deno.UnixAddr },
  print = console.log,
): void {
  print(`client ${formatAddress(remoteAddr)}`);
}

/** Formats an address: `127.0.0.1:9876`, `[::1]:9876`, or the path of a Unix socket. */
export function formatAddress(
  address: { hostname: string; port: number } | { path: string },
): string {
  // A client of a Unix socket usually has no path.
  if ("path" in address) return address.path || "(unnamed)";
  const { hostname, port } = address;
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}
