/**
 * Whether a test must be left out because a program that it needs is not
 * installed. Says so, and is an error where everything has to run (CI=true).
 */
export function missing(program: string): boolean {
  const search = Deno.build.os === "windows" ? "where" : "which";
  try {
    if (new Deno.Command(search, { args: [program] }).outputSync().success) {
      return false;
    }
  } catch {
    // Without a way to search, it counts as not installed.
  }
  const reason = `Tests that need ${program} are left out: it is not installed`;
  if (Deno.env.get("CI") === "true") throw new Error(reason);
  console.warn(reason);
  return true;
}
