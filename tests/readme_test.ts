/**
 * The README's blocks that `deno test --doc` does not run: the two programs it
 * begins with, and the commands.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { getAvailablePort } from "@std/net/get-available-port";
import { connectAndReset, readAll } from "./clients.ts";
import { missing } from "./missing.ts";
import { serveRegistry } from "./registry.ts";

const ROOT = new URL("..", import.meta.url);
const README = await Deno.readTextFile(new URL("README.md", ROOT));

/** The blocks whose opening line ends so. */
function blocks(language: string): string[] {
  return README.split("```" + language + "\n").slice(1)
    .map((rest) => rest.slice(0, rest.indexOf("```")));
}

const [before, after] = blocks("ts ignore");
const [echo, test, add, ...others] = blocks("sh").map((block) => block.trim());

/** Runs one of the two programs, on a port of its own, and lets a client reset. */
async function startAttacked(program: string) {
  const addr: Deno.NetAddr = {
    transport: "tcp",
    hostname: "127.0.0.1",
    port: getAvailablePort(),
  };
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-config", "--allow-net", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const source = `
    const handle = (conn: Deno.Conn) => conn.close();
    console.log("started");
    ${program.replace("9876", String(addr.port))}`;
  const stdin = child.stdin.getWriter();
  await stdin.write(new TextEncoder().encode(
    source.replace(
      '"@evconn/listener"',
      JSON.stringify(new URL("mod.ts", ROOT)),
    ),
  ));
  await stdin.close();
  const stdout = child.stdout.getReader();
  await stdout.read();
  await stdout.cancel();
  // It prints before it listens.
  while (true) {
    try {
      (await Deno.connect({ hostname: addr.hostname, port: addr.port }))
        .close();
      break;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    }
  }
  // While it is stopped, the kernel queues them, and they are gone before accept().
  child.kill("SIGSTOP");
  await connectAndReset({ addr }, 10);
  child.kill("SIGCONT");
  return { child, addr };
}

const ignore = Deno.build.os === "windows"; // it has no SIGSTOP

Deno.test(
  "README: clients that reset end the first server",
  { ignore },
  async () => {
    const { child } = await startAttacked(before!);
    const stderr = await new Response(child.stderr).text();
    assertEquals((await child.status).code, 1);
    assertStringIncludes(stderr, "NotConnected");
  },
);

Deno.test(
  "README: they do not end the second, which differs in one word and an import",
  {
    ignore,
  },
  async () => {
    assertEquals(
      after!.replace(/^import .*\n/, "").replace("listen(", "Deno.listen("),
      before,
    );
    const { child, addr } = await startAttacked(after!);
    assertEquals(
      await readAll(
        await Deno.connect({ hostname: addr.hostname, port: addr.port }),
      ),
      "",
    );
    child.kill("SIGKILL");
    assertEquals(await new Response(child.stderr).text(), "");
    await child.status;
  },
);

Deno.test("README: the echo server starts", {
  ignore: ignore || missing("npx", "setsid"),
}, async () => {
  // In a process group of its own, because npx starts the server through others.
  const child = new Deno.Command("sh", {
    args: ["-c", `exec setsid ${echo!} ${getAvailablePort()}`],
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
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new TextEncoder().encode("hello"));
    await conn.closeWrite();
    assertEquals(await readAll(conn), "hello");
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
  assertEquals(new Set(languages), new Set(["ts", "ts ignore", "sh"]));
});
