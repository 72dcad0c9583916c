/** A stand-in for `@std/net/get-available-port`, without its options. */
export function getAvailablePort(): number {
  using listener = Deno.listen({ port: 0 });
  return listener.addr.port;
}
