/**
 * Prints `--import-map=offline/import_map.json` where the `@std` packages cannot
 * be loaded from JSR, nothing where they can, and says on stderr which of the
 * two it is. For `$(…)` in the tasks of deno.json.
 *
 * ```sh
 * deno test $(deno run offline/probe.ts)
 * ```
 *
 * @module
 */

/** How long JSR may take to answer, in ms. What is in Deno's cache is there at once. */
const PATIENCE = 10_000;

// Every module that the tests and the examples import. Not written as literals in
// import(): Deno would load those before this program starts, with no limit.
const modules = [
  "@std/assert",
  "@std/cli/parse-args",
  "@std/cli/unstable-progress-bar",
  "@std/net/get-available-port",
];

const timeout = Promise.withResolvers<never>();
const timer = setTimeout(
  () => timeout.reject(new Error(`no answer within ${PATIENCE / 1000} s`)),
  PATIENCE,
);
try {
  await Promise.race([
    Promise.all(modules.map((module) => import(module))),
    timeout.promise,
  ]);
  console.error("Using @std from JSR.");
} catch (error) {
  const [reason] = (error as Error).message.split(/\.?\s*\n|\. /, 1);
  console.error(`Using offline/ instead of @std from JSR: ${reason}.`);
  console.log("--import-map=offline/import_map.json");
} finally {
  clearTimeout(timer);
}
// An import that still waits for the network must not keep this waiting.
Deno.exit();
