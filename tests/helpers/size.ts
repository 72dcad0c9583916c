/** How large tests are: as small as shows what is wrong, or long, with TESTS_LONG=1. */

/** Whether tests are as long as they can be. */
export const LONG: boolean = Deno.env.get("TESTS_LONG") === "1";

/** A number of times or clients. */
export function size(short: number, long: number): number {
  return LONG ? long : short;
}
