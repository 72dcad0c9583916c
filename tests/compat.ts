/**
 * The library's types and its tests on other versions of Deno, which come from npm.
 * Prints a line for each, and fails if one of them does.
 *
 * ```sh
 * deno task compat        # the newest of each minor version that is supported
 * deno task compat 2.8.0  # another one
 * ```
 *
 * They run in a copy that has nothing but the library, the tests and a `deno.json`
 * without the words that an older Deno does not know.
 *
 * @module
 */
import { TempDir } from "./helpers/temp_dir.ts";

const VERSIONS = ["2.5.7", "2.6.8", "2.7.14", "2.9.6"];
/** What a version may take, in ms: more than twice what is normal. */
const PATIENCE = 300_000;

const ROOT = `${import.meta.dirname}/../`;
const NEEDED = /^(deno\.json|\w+\.ts|(internal|tests|offline)\/.*)$/;

/**
 * What a test has that is about more than the library: examples, the bench, the
 * package as it is published, other servers, and loads that take a minute each.
 */
const ABOUT_MORE =
  /\.\.\/(examples|bench)\/|"npm:|\/(example_process|proxies|registry|run)\.ts"|Program\.(deno|limited)\(|missing\("cc"\)/;
const MORE_FILES =
  /^tests\/(faults|programs|helpers|docs\/recipes)|\/fault_test/;

/** The tests of the library itself. */
async function libraryTests(folder = "tests"): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(ROOT + folder)) {
    const path = `${folder}/${name}`;
    if (MORE_FILES.test(path)) continue;
    if (isDirectory) found.push(...await libraryTests(path));
    if (!name.endsWith("_test.ts")) continue;
    const text = await Deno.readTextFile(ROOT + path);
    if (!ABOUT_MORE.test(text)) found.push(path);
  }
  return found.sort();
}

async function copy(from: string, to: string, inside = ""): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(from + inside)) {
    const path = inside + name;
    if (isDirectory && NEEDED.test(`${path}/`)) {
      await Deno.mkdir(`${to}/${path}`);
      await copy(from, to, `${path}/`);
    } else if (!isDirectory && NEEDED.test(path)) {
      await Deno.copyFile(from + path, `${to}/${path}`);
    }
  }
}

/** A run of a program, and everything that it has printed. */
async function run(command: string, args: string[], cwd: string) {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    // Deno 2.5 gets its types of node:* from npm, over what this machine trusts.
    env: { NO_COLOR: "1", DENO_TLS_CA_STORE: "mozilla,system" },
    signal: AbortSignal.timeout(PATIENCE),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { success, stdout: text(stdout), stderr: text(stderr) };
}

/** Where npx has put a version: to run that itself is to be able to end it. */
async function install(version: string, cwd: string): Promise<string> {
  const code = "console.log(Deno.execPath())";
  const args = ["-y", `deno@${version}`, "eval", code];
  const { success, stdout, stderr } = await run("npx", args, cwd);
  if (!success) throw new Error(`Cannot install Deno ${version}: ${stderr}`);
  return stdout.trim().split("\n").at(-1)!;
}

/** Runs some tests, and says which files have failed, if any. */
async function test(
  deno: string,
  flags: string[],
  files: string[],
  cwd: string,
) {
  // The tests' own types are those of the newest; each worker would be checked anew.
  const args = ["test", "-A", "--trace-leaks", "--no-check", ...flags];
  const tests = await run(deno, [...args, ...files], cwd);
  const failed = tests.stdout.matchAll(/ => \.\/(tests\/[\w/]+\.ts)/g);
  return {
    ...tests,
    failed: [...new Set(Array.from(failed, ([, file]) => file!))],
  };
}

/** Says how it went with a version, and whether it went well. */
async function check(
  version: string,
  flags: string[],
  cwd: string,
): Promise<boolean> {
  const start = performance.now();
  const deno = await install(version, cwd);
  const entries = ["mod.ts", "parallel.ts"];
  const types = await run(deno, ["check", ...flags, ...entries], cwd);
  const tests = await test(deno, flags, await libraryTests(), cwd);
  const [counts] = tests.stdout.match(/\d+ passed.*(?= \()/) ?? ["no result"];
  let result = tests.success ? "ok" : "FAILED";
  if (tests.failed.length > 0) {
    // Beside another version, on a busy machine, one may run out of patience.
    console.error(tests.stdout);
    const again = await test(deno, flags, tests.failed, cwd);
    const files = tests.failed.join(", ");
    if (again.success) result = `ok, with a second run of ${files}`;
    else console.error(again.stdout, again.stderr);
  } else if (!tests.success) console.error(tests.stdout, tests.stderr);
  if (!types.success) console.error(types.stderr);
  const seconds = Math.round((performance.now() - start) / 1000);
  console.log(
    `Deno ${version}: types ${
      types.success ? "ok" : "FAILED"
    }, tests ${result}: ${counts} (${seconds} s)`,
  );
  return types.success && result !== "FAILED";
}

await using dir = new TempDir();
await copy(ROOT, dir.path);
const config = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
delete config.test; // the sanitizers, which were on before they could be asked for
await Deno.writeTextFile(`${dir.path}/deno.json`, JSON.stringify(config));

const flags = Deno.args.filter((arg) => arg.startsWith("-"));
const versions = Deno.args.filter((arg) => !arg.startsWith("-"));
const waiting = versions.length > 0 ? versions : [...VERSIONS];
// Most of the time a test waits, so two versions at once take little more than one.
await Promise.all([1, 2].map(async () => {
  for (let version; (version = waiting.shift()) !== undefined;) {
    if (!await check(version, flags, dir.path)) Deno.exitCode = 1;
  }
}));
