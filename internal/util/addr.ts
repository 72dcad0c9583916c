/** An address in one word, as people write it. */
export function formatAddr(addr: Deno.Addr): string {
  switch (addr.transport) {
    case "tcp":
    case "udp":
      return addr.hostname.includes(":")
        ? `[${addr.hostname}]:${addr.port}`
        : `${addr.hostname}:${addr.port}`;
    case "vsock":
      return `vsock:${addr.cid}:${addr.port}`;
    default:
      return addr.path;
  }
}
