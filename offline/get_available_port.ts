/** A stand-in for `@std/net/get-available-port`. */
export function getAvailablePort(
  { preferredPort = 0 }: { preferredPort?: number } = {},
): number {
  try {
    using listener = Deno.listen({ port: preferredPort });
    return listener.addr.port;
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return getAvailablePort();
  }
}
