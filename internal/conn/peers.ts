import { ipv6Groups } from "../util/ip_address.ts";

/** How many groups of an IPv6 address one client has for itself: a /64 is one network. */
const NETWORK_GROUPS = 4;
/** How an IPv4 address looks on an IPv6 socket. */
const MAPPED = "::ffff:";

/** How many connections each peer has, of those that count toward the limits. */
export class Peers<C extends Deno.Conn> {
  /** Under which key each was counted: that of a peer does not change meanwhile. */
  readonly #keys = new Map<C, string>();
  /** Only peers that are here. */
  readonly #counts = new Map<string, number>();

  /**
   * Counts a connection, once.
   *
   * @param max How many its peer may have.
   * @returns Whether it was counted, because there was room.
   */
  enter(conn: C, max: number = Infinity): boolean {
    if (this.#keys.has(conn)) return true;
    const key = peerOf(conn.remoteAddr);
    const count = this.#counts.get(key) ?? 0;
    if (count >= max) return false;
    this.#keys.set(conn, key);
    this.#counts.set(key, count + 1);
    return true;
  }

  /** Counts a connection no more. */
  leave(conn: C): void {
    if (this.#keys.size === 0) return;
    const key = this.#keys.get(conn);
    if (key === undefined) return;
    this.#keys.delete(conn);
    const count = this.#counts.get(key)! - 1;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }

  /** How many peers are here. */
  get size(): number {
    return this.#counts.size;
  }
}

/** What makes two addresses one peer's. */
function peerOf(addr: Deno.Addr): string {
  if (addr.transport === "vsock") return String(addr.cid);
  if (!("hostname" in addr)) return "";
  const [address = ""] = addr.hostname.split("%"); // a zone is of this machine
  if (!address.includes(":")) return address;
  if (address.startsWith(MAPPED)) return address.slice(MAPPED.length);
  return ipv6Groups(address).slice(0, NETWORK_GROUPS).join(":");
}
