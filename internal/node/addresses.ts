/** The addresses of a connection in Node's words. A Unix socket has none. */

/** Both ends of a connection, as a `net.Socket` has them. */
export interface Addresses {
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly remoteFamily: string | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly localFamily: string | undefined;
}

/** The names of `Addresses`, for a socket that lacks them. */
export function addressesOf({ remoteAddr, localAddr }: Deno.Conn): Addresses {
  return {
    remoteAddress: hostOf(remoteAddr),
    remotePort: portOf(remoteAddr),
    remoteFamily: familyOf(remoteAddr),
    localAddress: hostOf(localAddr),
    localPort: portOf(localAddr),
    localFamily: familyOf(localAddr),
  };
}

/** The IP address. */
export function hostOf(addr: Deno.Addr): string | undefined {
  return isNetAddr(addr) ? addr.hostname : undefined;
}

/** The port. */
export function portOf(addr: Deno.Addr): number | undefined {
  return isNetAddr(addr) ? addr.port : undefined;
}

/** `"IPv4"` or `"IPv6"`. */
export function familyOf(addr: Deno.Addr): string | undefined {
  if (!isNetAddr(addr)) return undefined;
  return addr.hostname.includes(":") ? "IPv6" : "IPv4";
}

function isNetAddr(addr: Deno.Addr): addr is Deno.NetAddr {
  return "hostname" in addr;
}
