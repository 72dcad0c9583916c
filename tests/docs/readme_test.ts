/** The README's programs and commands, run as they stand but for the port. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import {
  connect,
  connectAndReset,
  readAll,
  turns,
} from "../helpers/clients.ts";
import { Process } from "../helpers/example_process.ts";
import { missing } from "../helpers/missing.ts";
import { serveRegistry } from "../helpers/registry.ts";
import { LONG } from "../helpers/size.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const ROOT = new URL("../..", import.meta.url);
const README = await Deno.readTextFile(new URL("README.md", ROOT));

/** The blocks whose opening line ends so. */
function blocks(language: string): string[] {
  return README.split("```" + language + "\n").slice(1)
    .map((rest) => rest.slice(0, rest.indexOf("```")));
}

const programs = blocks("ts");
const [add, commands, ...others] = blocks("sh").map((block) => block.trim());
const [echo, test] = commands!.split("\n");

/** Waits until somebody listens. */
async function listening(addr: Deno.NetAddr): Promise<void> {
  for (const end = performance.now() + 60_000;;) {
    try {
      return (await connect({ addr })).close();
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      if (performance.now() > end) throw error;
    }
  }
}

/** Saves a program and starts it, with nothing but JSR and --allow-net. */
async function start(program: string) {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await serveRegistry());
  const dir = stack.use(new TempDir());
  const port = freePort();
  const addr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port };
  const file = `${dir.path}/server.ts`;
  await Deno.writeTextFile(file, program.replace("9876", `${port}`));
  const args = ["run", "--quiet", "--no-prompt", "--allow-net", file];
  const env = { JSR_URL: registry.url, DENO_DIR: `${dir.path}/cache` };
  const server = stack.use(new Process(Deno.execPath(), args, env));
  await listening(addr);
  return Object.assign(stack, { addr, server });
}

/** Says hello, and gives what comes back. */
async function hello(listener: { addr: Deno.NetAddr }): Promise<string> {
  const conn = await connect(listener);
  await conn.write(new TextEncoder().encode("hello"));
  await conn.closeWrite();
  return await readAll(conn);
}

const ignore = Deno.build.os === "windows"; // it has no SIGSTOP

Deno.test("README: the first program is three lines, and no client ends it", {
  ignore,
}, async () => {
  assertEquals(programs[0]!.trim().split("\n").length, 3);
  await using program = await start(programs[0]!);
  const { server } = program;
  assertEquals(await hello(program), "hello");
  for (let i = 0; i < 10; i++) {
    // While it is stopped, the kernel queues them, and they are gone before accept().
    server.kill("SIGSTOP");
    await connectAndReset(program, 20);
    server.kill("SIGCONT");
    await connectAndReset(program, 20);
    assertEquals(await hello(program), "hello"); // and the queue is empty
  }
  server.kill("SIGKILL");
  const { stdout, stderr } = await server.output();
  assertEquals([stdout, stderr], ["", ""]);
});

Deno.test(
  "README: the bare loop ends at a client that is gone before it is accepted",
  {
    ignore,
  },
  async () => {
    const [loop] = /for await \(const conn of Deno\.listen.*\)/.exec(README)!;
    await using program = await start(`${loop} conn.close();`);
    program.server.kill("SIGSTOP");
    await connectAndReset(program, 10);
    program.server.kill("SIGCONT");
    // On macOS it is the code of an invalid argument, without a name.
    const { stderr } = await program.server.output();
    assertMatch(stderr, /NotConnected|os error 22/);
  },
);

Deno.test("README: one client at a time, and the second is answered when the first ends", async () => {
  await using program = await start(programs[1]!);
  const first = await connect(program);
  await first.write(new Uint8Array(1));
  await first.read(new Uint8Array(1));
  const second = hello(program);
  first.close();
  assertEquals(await second, "hello");
});

Deno.test("README: a pause, and nobody is refused", async () => {
  const tour = programs[2]!;
  await using program = await start(LONG ? tour : tour.replace("3000", "300"));
  assertStringIncludes(await program.server.line(), 'state: "paused"');
  const waiting = connect(program).then(readAll);
  assertStringIncludes(await program.server.line(), 'state: "listening"');
  assertEquals(await waiting, "hello\n");
});

Deno.test(
  "README: an end that waits for who is served",
  { ignore },
  async () => {
    await using program = await start(programs[3]!);
    const conn = await connect(program);
    await conn.write(new TextEncoder().encode("hello"));
    await conn.read(new Uint8Array(5));
    program.server.kill("SIGINT");
    for (;;) {
      await turns(); // faster, and it would serve the next before it ends
      const other = await connect(program).catch(() => {});
      if (!other) break;
      other.close();
    }
    conn.close();
    assertMatch(
      await program.server.line(),
      /^{ completed: \d+, aborted: 0 }$/,
    );
    assertEquals((await program.server.output()).code, 0);
  },
);

Deno.test("README: the programs of the tour are ten lines at most", () => {
  assertEquals(programs.length, 4);
  for (const program of programs) {
    assert(program.trim().split("\n").length <= 10, program);
  }
});

Deno.test("README: the echo server starts", {
  ignore: ignore || missing("npx", "setsid"),
}, async () => {
  // In a process group of its own, because npx starts the server through others.
  const child = new Deno.Command("sh", {
    args: ["-c", `exec setsid ${echo!} ${freePort()}`],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  try {
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value = "" } = await lines.read();
    await lines.cancel();
    assertStringIncludes(value, "Echoing on 0.0.0.0:");
    const port = Number(value.trim().split(":").at(-1));
    const addr = { transport: "tcp" as const, hostname: "127.0.0.1", port };
    assertEquals(await hello({ addr }), "hello");
  } finally {
    Deno.kill(-child.pid, "SIGTERM"); // the group
    await child.status;
  }
});

Deno.test("README: the tests are what continuous integration runs", async () => {
  assertStringIncludes(
    await Deno.readTextFile(new URL(".ci/run", ROOT)),
    test!,
  );
});

Deno.test("README: deno add adds the package", async () => {
  await using registry = await serveRegistry();
  const cwd = await Deno.makeTempDir();
  const [program, ...args] = add!.split(" ");
  assertEquals(program, "deno");
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { JSR_URL: registry.url, DENO_DIR: `${cwd}/cache`, NO_COLOR: "1" },
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const { imports } = JSON.parse(await Deno.readTextFile(`${cwd}/deno.json`));
  assert(imports["@evconn/listener"].startsWith("jsr:@evconn/listener@"));
  await Deno.remove(cwd, { recursive: true });
});

Deno.test("README: there is no block that nobody runs", () => {
  assertEquals(others, []);
  const languages = README.matchAll(/^```(\S.*)$/gm).map(([, language]) =>
    language
  );
  assertEquals(new Set(languages), new Set(["ts", "sh"]));
});

Deno.test("README: it takes 700 words at most to the first table", () => {
  const words = README.slice(0, README.indexOf("\n| ")).split(/\s+/).length;
  assertGreater(701, words);
});
