/** An address as text, such as `127.0.0.1:8080`. */
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
