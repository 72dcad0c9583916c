import { ipv6Groups } from "../util/ip_address.ts";

/** How many groups of an IPv6 address identify a client: a /64 is one network. */
const NETWORK_GROUPS = 4;
/** How many peers without a connection are kept at least. */
const MIN_UNUSED = 1024;

/** The counter that all connections of one peer share. */
export class Peer {
  readonly #peers: Peers;
  count = 0;

  constructor(peers: Peers) {
    this.#peers = peers;
  }

  /** Stops counting one connection. */
  leave(): void {
    if (--this.count === 0) this.#peers.onUnused();
  }
}

/** Counts the connections of each peer. */
export class Peers {
  /**
   * Peers without a connection are kept for a while. They may come back, and a large map
   * is slow if keys are often added and deleted.
   */
  #peers = new Map<string, Peer>();
  #unused = 0;

  /**
   * Counts a connection.
   *
   * @param max How many connections its peer may have.
   * @returns Its peer, whose `leave()` ends the count; undefined at the limit.
   */
  enter(addr: Deno.Addr, max: number = Infinity): Peer | undefined {
    const key = peerOf(addr);
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      this.#peers.set(key, peer = new Peer(this));
      this.#unused++;
    }
    if (peer.count >= max) return undefined;
    if (peer.count++ === 0) this.#unused--;
    return peer;
  }

  /** Called when a peer has no connection left. */
  onUnused(): void {
    this.#unused++;
    const areMost = this.#unused * 2 > this.#peers.size;
    if (this.#unused > MIN_UNUSED && areMost) this.#clear();
  }

  /** Deletes the peers without a connection. */
  #clear(): void {
    const here = Array.from(this.#peers).filter(([, { count }]) => count > 0);
    this.#peers = new Map(here);
    this.#unused = 0;
  }

  /** How many peers have a connection. */
  get size(): number {
    return this.#peers.size - this.#unused;
  }
}

/**
 * Tells which client an address belongs to, as `maxConnectionsPerPeer` does: an IPv4
 * address is one client, also where an IPv6 socket shows it as `::ffff:192.0.2.1`; of an
 * IPv6 address the first 64 bits count, which is the network that one customer gets. Use
 * it as the key of what you count for each client.
 *
 * @param addr A client's address: `conn.remoteAddr`, or what `admit` is given.
 * @returns The same text for all addresses of one client. For a Unix socket, whose
 * clients have no address, it is empty; for VSOCK it is the `cid`.
 * @category Listening
 *
 * @example Usage
 * ```ts
 * import { peerOf } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const of = (hostname: string) => peerOf({ transport: "tcp", hostname, port: 1 });
 * assertEquals(of("::ffff:192.0.2.1"), of("192.0.2.1"));
 * assertEquals(of("2001:db8::1"), of("2001:db8::2:3"));
 * ```
 */
export function peerOf(addr: Deno.Addr): string {
  if (addr.transport === "vsock") return String(addr.cid);
  if (!("hostname" in addr)) return "";
  const { hostname } = addr;
  if (!hostname.includes(":")) return hostname;
  const [address = ""] = hostname.split("%"); // a zone is of this machine
  const groups = ipv6Groups(address);
  if (!isMapped(groups)) {
    return groups.slice(0, NETWORK_GROUPS).map((group) => group.toString(16))
      .join(":");
  }
  const [high, low] = groups.slice(6) as [number, number];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** Whether it is an IPv4 address as it looks on an IPv6 socket. */
function isMapped(groups: readonly number[]): boolean {
  return groups[5] === 0xffff && groups.slice(0, 5).every((group) => !group);
}
