/** Whether this is a version of Deno, or a later one: `isSince(2, 9)`. */
export function isSince(...version: number[]): boolean {
  const ours = Deno.version.deno.split(".").map((part) => parseInt(part));
  const at = version.findIndex((part, i) => part !== ours[i]);
  return at === -1 || ours[at]! > version[at]!;
}
