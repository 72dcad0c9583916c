/** What `deno task test` adds to `deno test`: the types, and what was left out. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { moduleFlags } from "../helpers/faults.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const RUN = new URL("../run.ts", import.meta.url).href;
const MISSING = new URL("../helpers/missing.ts", import.meta.url).href;

const SUMMARY = `Tests were left out:
  not installed: no-such-program
`;

/** Runs a file of tests as the task does, in a folder of its own. */
async function runTests(source: string, ...args: string[]) {
  await using dir = new TempDir();
  const file = `${dir.path}/a_test.ts`;
  await Deno.writeTextFile(
    file,
    `import { missing } from ${JSON.stringify(MISSING)};\n${source}`,
  );
  const flags = ["-A", ...moduleFlags()];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", RUN, ...flags, file, ...args],
    cwd: dir.path,
    env: { NO_COLOR: "1", CI: "" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const LEFT_OUT = `
  const ignore = missing("no-such-program") && missing("no-such-program");
  Deno.test("needs it", { ignore }, () => {});
  Deno.test("needs nothing", () => {});`;

Deno.test("run.ts says what was left out after everything else, once", async () => {
  const { code, stdout, stderr } = await runTests(LEFT_OUT);
  assertEquals([code, stderr], [0, SUMMARY]);
  assertStringIncludes(stdout, "needs nothing ... ok");
  assertStringIncludes(stdout, "1 passed | 0 failed | 1 ignored");
});

Deno.test("run.ts says nothing when nothing was left out", async () => {
  const { code, stderr } = await runTests(`Deno.test("a", () => {});`);
  assertEquals([code, stderr], [0, ""]);
});

Deno.test("run.ts passes arguments and the exit code on", async () => {
  const { code, stdout, stderr } = await runTests(
    `${LEFT_OUT}
    Deno.test("fails", () => {
      throw new Error("on purpose");
    });`,
    "--filter",
    "fails",
  );
  assertEquals(code, 1);
  assertStringIncludes(stdout, "0 passed | 1 failed | 2 filtered out");
  assertEquals(stderr.endsWith(SUMMARY), true, stderr);
});

Deno.test({
  name: "run.ts waits for the tests to end when it is interrupted",
  ignore: Deno.build.os === "windows", // there, kill() only ends
  async fn() {
    const { code, stdout, stderr } = await runTests(`
      ${LEFT_OUT}
      Deno.test("waits", async () => {
        Deno.kill(Deno.ppid, "SIGINT");
        await new Promise((resolve) => setTimeout(resolve, 60_000));
      });`);
    assertEquals(code, 130);
    assertStringIncludes(stdout, "waits");
    assertEquals(stderr.endsWith(SUMMARY), true, stderr);
  },
});

Deno.test("run.ts says where a type is wrong, and then runs nothing", async () => {
  const wrong = `
    Deno.test("does not run", () => missing(5));`;
  const { code, stdout, stderr } = await runTests(wrong);
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, "TS2345");
  assertStringIncludes(stderr, "a_test.ts:3:45");
  const unchecked = await runTests(wrong, "--no-check", "--filter", "another");
  assertStringIncludes(unchecked.stdout, "1 filtered out");
});

Deno.test("run.ts checks the examples in comments", async () => {
  const { code, stderr } = await runTests(`
    /**
     * \`\`\`ts
     * const count: number = "five";
     * \`\`\`
     */
    export const ignore = missing();`);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "TS2322");
});
