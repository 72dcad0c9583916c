/** What tests need beside Deno, and what is said when it is not there. */

/**
 * Whether one of the programs that a test needs is not installed, for the test's
 * `ignore`. Says so, and is an error where everything has to run (CI=true).
 */
export function missing(...programs: string[]): boolean {
  const absent = programs.filter((program) => !isInstalled(program));
  return absent.length > 0 && leaveOut(`not installed: ${absent.join(", ")}`);
}

/** The environment variable with the file from which `run.ts` takes the reasons. */
export const LEFT_OUT_FILE = "TESTS_LEFT_OUT_FILE";

/** Says which missing program leaves tests out, and is an error where everything has to run. */
export function leaveOut(reason: string): true {
  if (Deno.env.get("CI") === "true") throw new Error(reason);
  return noteLeftOut(reason);
}

/** Says why tests are left out, where nothing can be installed that would change it. */
export function noteLeftOut(reason: string): true {
  const file = Deno.env.get(LEFT_OUT_FILE);
  if (file) Deno.writeTextFileSync(file, `${reason}\n`, { append: true });
  else console.warn(`Tests are left out: ${reason}`);
  return true;
}

function isInstalled(program: string): boolean {
  const windows = Deno.build.os === "windows";
  const folders = (Deno.env.get("PATH") ?? "").split(windows ? ";" : ":");
  return folders.some((folder) => {
    try {
      return Deno.statSync(`${folder}/${program}${windows ? ".exe" : ""}`)
        .isFile;
    } catch {
      return false;
    }
  });
}
