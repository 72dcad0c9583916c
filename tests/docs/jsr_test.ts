/** What a user gets who imports the package from JSR, by its name. */
import { assertEquals } from "@std/assert";
import {
  name,
  publishedFiles,
  serveRegistry,
  version,
} from "../helpers/registry.ts";

const PACKAGE = `jsr:${name}@^${version.split(".").slice(0, 2).join(".")}`;

/** Runs a program in an empty folder that has nothing but the registry. */
async function runConsumer(
  registry: string,
  source: string,
  flags: string[] = [],
  worker = "",
) {
  const cwd = await Deno.makeTempDir();
  await Deno.writeTextFile(`${cwd}/main.ts`, source);
  await Deno.writeTextFile(`${cwd}/worker.ts`, worker);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--check", "--no-prompt", ...flags, "main.ts"],
    cwd,
    env: { JSR_URL: registry, DENO_DIR: `${cwd}/cache`, NO_COLOR: "1" },
  }).output();
  await Deno.remove(cwd, { recursive: true });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("the package works when it is imported from JSR, with nothing but --allow-net", async () => {
  await using registry = await serveRegistry();
  const { code, stdout, stderr } = await runConsumer(
    registry.url,
    `import { listen } from "${PACKAGE}";
    await using listener = listen({ hostname: "127.0.0.1", port: 0 }, async (conn) => {
      const buffer = new Uint8Array(16);
      const length = await conn.read(buffer);
      await conn.write(buffer.subarray(0, length ?? 0));
    });
    using client = await Deno.connect({ port: listener.addr.port });
    await client.write(new TextEncoder().encode("hello"));
    console.log(await new Response(client.readable).text());`,
    ["--allow-net"],
  );
  assertEquals([code, stdout], [0, "hello\n"], stderr);
});

Deno.test("so do workers, which have to be read from disk", async () => {
  await using registry = await serveRegistry();
  const { code, stdout, stderr } = await runConsumer(
    registry.url,
    `import { listenParallel } from "${PACKAGE}/parallel";
    await using service = await listenParallel(
      new URL("./worker.ts", import.meta.url),
      { hostname: "127.0.0.1", port: 0, workers: 2, data: "hello" },
    );
    using client = await Deno.connect({ port: service.addr.port });
    console.log(await new Response(client.readable).text());`,
    ["--allow-net", "--allow-read=worker.ts"],
    `import { serveParallel } from "${PACKAGE}/parallel";
    serveParallel<string>((conn, _, text) =>
      conn.write(new TextEncoder().encode(text))
    );`,
  );
  assertEquals([code, stdout], [0, "hello\n"], stderr);
});

Deno.test("the package has no module but its own", async () => {
  await using registry = await serveRegistry();
  const { code, stderr } = await runConsumer(
    registry.url,
    `import "${PACKAGE}"; import "${PACKAGE}/parallel"; import "${PACKAGE}/node";`,
  );
  assertEquals(code, 0, stderr);
  const own = [...registry.files.keys()].filter((path) => path.endsWith(".ts"));
  const modules = registry.requests.filter((path) => path.endsWith(".ts"))
    .map((path) => path.replace(`/${name}/${version}`, ""));
  assertEquals(modules.sort(), own.sort());
});

Deno.test("nothing is published but the library and what describes it", async () => {
  const others = [...(await publishedFiles()).keys()].filter((path) =>
    !/^\/(internal\/(\w+\/)*)?\w+\.ts$/.test(path)
  );
  assertEquals(others.sort(), [
    "/CHANGELOG.md",
    "/LICENSE",
    "/README.md",
    "/deno.json",
  ]);
});
