/** What this operating system says of a failure, as Deno passes it on. */

function wordsOf(fail: () => unknown): string {
  try {
    fail();
  } catch (error) {
    return (error as Error).message.split(" (os error")[0]!;
  }
  throw new Error("This should have failed");
}

/** Of an address that a socket has already. */
export function addressInUse(): string {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { hostname, port } = taken.addr;
  return wordsOf(() => Deno.listen({ hostname, port }));
}

/** Of a file that is not there. */
export function noSuchFile(): string {
  return wordsOf(() => Deno.statSync(import.meta.dirname + "/nosuch"));
}
