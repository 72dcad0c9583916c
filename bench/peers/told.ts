/** Waits until the bench says, on stdin, that its connections are open. */
export async function told(): Promise<void> {
  await Deno.stdin.read(new Uint8Array(1));
}
