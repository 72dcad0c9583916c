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
import { exports, name, serveRegistry, version } from "../helpers/registry.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const ROOT = new URL("../..", import.meta.url);
const README = await Deno.readTextFile(new URL("README.md", ROOT));

/** The blocks whose opening line ends so. */
function blocks(language: string): string[] {
  return README.split("```" + language + "\n").slice(1)
    .map((rest) => rest.slice(0, rest.indexOf("```")));
}

/** How a program imports this version, and later ones that are compatible. */
const JSR = `jsr:${name}@^${version.split(".").slice(0, 2).join(".")}`;

const programs = blocks("ts");
const [add, commands, offline, ...others] = blocks("sh").map((block) =>
  block.trim()
);
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

/** Starts the second program with other numbers, so that they can be seen at work. */
function startLimited(numbers: Record<string, string>) {
  const program = Object.entries(numbers).reduce(
    (text, [old, now]) => text.replace(old, now),
    programs[1]!,
  );
  return start(program);
}

Deno.test("README: a client over the limit is served when another one ends", async () => {
  await using program = await startLimited({ "1000": "1" });
  const first = await connect(program);
  const roundTrip = async () => {
    await first.write(new Uint8Array(1));
    await first.read(new Uint8Array(1));
  };
  await roundTrip();
  let isServed = false;
  const second = hello(program).finally(() => isServed = true);
  // A server without the limit would answer both by turns.
  for (let i = 0; i < 20; i++) await roundTrip();
  assertEquals(isServed, false);
  first.close();
  assertEquals(await second, "hello");
});

Deno.test("README: a client that sends nothing is disconnected", async () => {
  await using program = await startLimited({ "60_000": "300" });
  assertEquals(await readAll(await connect(program)), "");
});

Deno.test("README: Ctrl-C waits for the connections", { ignore }, async () => {
  await using program = await startLimited({});
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
});

Deno.test("README: there are two programs, and the longer one has ten lines", () => {
  assertEquals(programs.length, 2);
  assertGreater(11, programs[1]!.trim().split("\n").length);
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

Deno.test("README: deno doc prints the reference", async () => {
  const [, command] = /`deno (doc \S+)`/.exec(README)!;
  await using registry = await serveRegistry();
  await using dir = new TempDir();
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: command!.split(" "),
    env: { JSR_URL: registry.url, DENO_DIR: dir.path, NO_COLOR: "1" },
  }).output();
  assertEquals(code, 0);
  assertStringIncludes(new TextDecoder().decode(stdout), "class ConnListener");
});

Deno.test("README: a program runs in a clone where JSR cannot be reached", async () => {
  await using dir = new TempDir();
  const port = freePort();
  const file = `${dir.path}/server.ts`;
  await Deno.writeTextFile(file, programs[0]!.replace("9876", `${port}`));
  const [, ...args] = offline!.split(" ");
  assertEquals(args.pop(), "server.ts");
  await using _server = new Process(
    Deno.execPath(),
    [...args, "--no-prompt", file],
    { JSR_URL: "http://127.0.0.1:1/", DENO_DIR: `${dir.path}/cache` },
  );
  const addr = { transport: "tcp" as const, hostname: "127.0.0.1", port };
  await listening(addr);
  assertEquals(await hello({ addr }), "hello");
});

Deno.test("the import map of offline/ has every entry point, by its name and from JSR", async () => {
  const url = new URL("offline/import_map.json", ROOT);
  const { imports } = JSON.parse(await Deno.readTextFile(url));
  for (const [entry, file] of Object.entries(exports)) {
    for (const specifier of [name, `jsr:${name}`, JSR]) {
      const mapped = imports[specifier + entry.slice(1)];
      assertEquals(mapped, `../${(file as string).slice(2)}`);
    }
  }
});

Deno.test("README: there is no block that nobody runs", () => {
  assertEquals(others, []);
  const languages = README.matchAll(/^```(\S.*)$/gm).map(([, language]) =>
    language
  );
  assertEquals(new Set(languages), new Set(["ts", "sh"]));
});

Deno.test("README: it has 120 lines at most", () => {
  assertGreater(121, README.trimEnd().split("\n").length);
});

Deno.test("README and mod.ts name the version that is published", async () => {
  const page = await Deno.readTextFile(new URL("mod.ts", ROOT));
  const versions = [
    ...(README + page).matchAll(/jsr:@evconn\/listener(\S*?)["`\s]/g),
  ];
  assertGreater(versions.length, 5);
  for (const [, written] of versions) {
    assertEquals(`jsr:${name}${written}`, JSR);
  }
});

Deno.test("README and mod.ts begin with the same program", async () => {
  const page = await Deno.readTextFile(new URL("mod.ts", ROOT));
  const text = page.replaceAll(/^ \* ?/gm, "");
  const [, block] = text.split("```ts ignore\n");
  assertEquals(block!.split("```")[0], programs[0]);
});
