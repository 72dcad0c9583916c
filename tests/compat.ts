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
/** What a version may take, in ms: four times what is normal on a calm machine. */
const PATIENCE = 600_000;

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
/** What needs Deno 2.9: `serveTls()`, and all that `serveNode()` says about HTTP. */
const NEW_FILES =
  /^tests\/node\/(client_certificates|ended_handshake|http|renewal|serve_tls)_/;

/** The tests of the library itself. */
async function libraryTests(folder = "tests"): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(ROOT + folder)) {
    const path = `${folder}/${name}`;
    if (MORE_FILES.test(path) || NEW_FILES.test(path)) continue;
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

/** How a program has ended, and everything that it has printed. */
interface Run {
  success: boolean;
  /** Whether it was ended because it took too long. */
  isLate: boolean;
  stdout: string;
  stderr: string;
}

async function run(
  command: string,
  args: string[],
  cwd: string,
): Promise<Run> {
  const signal = AbortSignal.timeout(PATIENCE);
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    // Deno 2.5 gets its types of node:* from npm, over what this machine trusts.
    env: { NO_COLOR: "1", DENO_TLS_CA_STORE: "mozilla,system" },
    signal,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const isLate = !success && signal.aborted;
  return { success, isLate, stdout: text(stdout), stderr: text(stderr) };
}

/** Where npx has put a version: to run that itself is to be able to end it. */
async function install(version: string, cwd: string): Promise<string> {
  const code = "console.log(Deno.execPath())";
  const args = ["-y", `deno@${version}`, "eval", code];
  const { success, stdout, stderr } = await run("npx", args, cwd);
  if (!success) throw new Error(`Cannot install Deno ${version}: ${stderr}`);
  return stdout.trim().split("\n").at(-1)!;
}

/** The files in these lines of a test run's output, in order. */
function filesIn({ stdout }: Run, line: RegExp): string[] {
  return Array.from(stdout.matchAll(line), ([, file]) => file!);
}

/** The files of a run that have failed, or have not come to their end. */
function unfinished(tests: Run, files: string[]): string[] {
  if (tests.success) return [];
  const failed = filesIn(tests, / => \.\/(tests\/[\w/]+\.ts)/g);
  const begun = filesIn(tests, /^running \d+ tests? from \.\/(\S+)$/gm);
  const isOver = !tests.isLate && failed.length > 0;
  const ended = isOver ? files : begun.slice(0, -1);
  return files.filter((file) => failed.includes(file) || !ended.includes(file));
}

/** Runs the tests, once more those that fail, and says how it went. */
async function test(
  deno: string,
  flags: string[],
  cwd: string,
): Promise<{ success: boolean; result: string }> {
  // The tests' own types are those of the newest; each worker would be checked anew.
  const args = ["test", "-A", "--trace-leaks", "--no-check", ...flags];
  const files = await libraryTests();
  const tests = await run(deno, [...args, ...files], cwd);
  const [counts = "no counts"] = tests.stdout.match(/\d+ passed.*(?= \()/) ??
    [];
  if (tests.success) return { success: true, result: `ok: ${counts}` };

  // Beside another version, on a busy machine, a test may run out of patience.
  console.error(tests.stdout, tests.stderr);
  const what = tests.isLate
    ? `gave up after ${PATIENCE / 1000} s`
    : `failed: ${counts}`;
  const rest = unfinished(tests, files);
  const again = await run(deno, [...args, ...rest], cwd);
  const names = rest.length > 5 ? `${rest.length} files` : rest.join(", ");
  if (again.success) {
    return { success: true, result: `${what}; ok in a second run of ${names}` };
  }
  console.error(again.stdout, again.stderr);
  const also = again.isLate ? "gave up again" : "FAILED again";
  return { success: false, result: `${what}; ${also} in ${names}` };
}

/** Says how it went with a version, and whether it went well. */
async function check(
  version: string,
  flags: string[],
  cwd: string,
): Promise<boolean> {
  const start = performance.now();
  const deno = await install(version, cwd);
  const entries: string[] = Object.values(config.exports);
  const types = await run(deno, ["check", ...flags, ...entries], cwd);
  const tests = await test(deno, flags, cwd);
  if (!types.success) console.error(types.stderr);
  const seconds = Math.round((performance.now() - start) / 1000);
  console.log(
    `Deno ${version}: types ${
      types.success ? "ok" : "FAILED"
    }, tests ${tests.result} (${seconds} s)`,
  );
  return types.success && tests.success;
}

const config = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
await using dir = new TempDir();
await copy(ROOT, dir.path);
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
