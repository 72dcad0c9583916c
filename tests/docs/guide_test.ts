/** What `deno test --doc` cannot run of the documents: whole programs, and links. */
import { assert, assertEquals } from "@std/assert";
import { connect, readAll, turns } from "../helpers/clients.ts";
import { Process, run } from "../helpers/example_process.ts";
import { roundTrip } from "../helpers/faults.ts";
import { freePort } from "../helpers/free_port.ts";
import { missing } from "../helpers/missing.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { pair } from "../helpers/tls_certificates.ts";
import { connectTls } from "../helpers/tls_clients.ts";
import { startUserProgram } from "../helpers/user_program.ts";

const ROOT = new URL("../..", import.meta.url);
const DOCUMENTS = [
  "README.md",
  "CONTRIBUTING.md",
  "docs/cost.md",
  "docs/guide.md",
  "docs/libevent.md",
  "docs/limitations.md",
  "docs/recipes.md",
  "docs/survival.md",
  "bench/README.md",
];

const read = (path: string) => Deno.readTextFile(new URL(path, ROOT));

const GUIDE = await read("docs/guide.md");

/** The programs of the guide that are run here, by chapter. */
const FILES: Record<string, string[]> = {
  "First listener": ["tls.ts", "unix.ts"],
  "TLS": ["tls_worker.ts"],
  "Every core": ["main.ts", "worker.ts"],
};

/** Blocks that show a call and nothing else. */
const CALLS: Record<string, number> = { "Who gets in": 2 };

/** The block of a chapter that is a file. Its name is in the block's first line. */
function fileOf(chapter: string, name: string): string {
  const [, text = ""] = GUIDE.split(`\n## ${chapter}\n`);
  return text.split(`// ${name}\n`)[1]!.split("```")[0]!;
}

/** The one command of the guide that begins so, without its first word. */
function commandOf(start: string): string {
  const lines = GUIDE.split("\n").filter((line) => line.startsWith(start));
  assertEquals(lines.length, 1, start);
  return lines[0]!.replace(/^\w+ /, "");
}

/** Waits until a server is there. */
async function connectSoon<T>(connect: () => Promise<T>): Promise<T> {
  for (const end = performance.now() + 60_000;;) {
    try {
      return await connect();
    } catch (error) {
      const isEarly = error instanceof Deno.errors.ConnectionRefused ||
        error instanceof Deno.errors.NotFound;
      if (!isEarly || performance.now() > end) throw error;
      await turns();
    }
  }
}

Deno.test("guide: the two files of a service on every core, and their command", async () => {
  const port = freePort();
  await using program = await startUserProgram({
    "main.ts": fileOf("Every core", "main.ts").replace("9876", `${port}`),
    "worker.ts": fileOf("Every core", "worker.ts"),
  }, commandOf("deno run --allow-net --allow-read=worker.ts"));
  await program.process.line(/^Port/);
  const addr = { transport: "tcp" as const, hostname: "127.0.0.1", port };
  assertEquals(await readAll(await connect({ addr })), "hello\n");
});

Deno.test("guide: the TLS server, with a certificate and a client of openssl", {
  ignore: missing("openssl"),
}, async () => {
  await using dir = new TempDir();
  const args = commandOf("openssl req").split(" ").map((arg) =>
    arg.endsWith(".pem") ? `${dir.path}/${arg}` : arg
  );
  const { code, stderr } = await run("openssl", args);
  assertEquals(code, 0, stderr);
  const cert = await Deno.readTextFile(`${dir.path}/cert.pem`);
  const port = freePort();
  await using _server = await startUserProgram({
    "tls.ts": fileOf("First listener", "tls.ts").replace("8443", `${port}`),
    "cert.pem": cert,
    "key.pem": await Deno.readTextFile(`${dir.path}/key.pem`),
  }, commandOf("deno run --allow-net --allow-read=cert.pem"));
  using client = await connectSoon(() =>
    Deno.connectTls({ hostname: "localhost", port, caCerts: [cert] })
  );
  assertEquals(await roundTrip(client, "hello"), "hello");
  await using openssl = new Process(
    "openssl",
    commandOf("openssl s_client").replace("8443", `${port}`).split(" "),
  );
  await openssl.write("hello\n");
  assertEquals(await openssl.line(), "hello");
});

/** Starts the guide's worker, and renews its certificate when a line comes. */
const TLS_MAIN = `
  import { listenParallel } from "@evconn/listener/parallel";

  const [first, second] = JSON.parse(Deno.readTextFileSync("pairs.json"));
  const worker = new URL("./tls_worker.ts", import.meta.url);
  const options = { hostname: "127.0.0.1", port: 0, workers: 2, data: first };
  const service = await listenParallel(worker, options);
  console.log("Port:" + service.addr.port);
  await Deno.stdin.read(new Uint8Array(1));
  service.setData(second);
`;

Deno.test("guide: the worker that renews its certificate", async () => {
  await using program = await startUserProgram({
    "main.ts": TLS_MAIN,
    "tls_worker.ts": fileOf("TLS", "tls_worker.ts"),
    "pairs.json": JSON.stringify([pair("one.test"), pair("two.test")]),
  }, "run --allow-net --allow-read main.ts");
  const port = await program.process.port();
  const addr = { transport: "tcp" as const, hostname: "127.0.0.1", port };
  const ask = async (name: string) => {
    using client = await connectTls({ addr }, name);
    return await roundTrip(client, "hello");
  };
  assertEquals(await ask("one.test"), "hello");
  await program.process.write("\n");
  // A worker may not have heard of it yet.
  const renewed = () => ask("two.test").catch(() => undefined);
  for (let tries = 0; await renewed() !== "hello"; tries++) {
    assert(tries < 1000);
  }
});

Deno.test("guide: the server on a Unix socket", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using server = await startUserProgram(
    { "unix.ts": fileOf("First listener", "unix.ts") },
    commandOf("deno run --allow-net=unix:"),
  );
  const path = `${server.folder}/echo.sock`;
  using client = await connectSoon(() =>
    Deno.connect({ transport: "unix", path })
  );
  assertEquals(await roundTrip(client, "hello"), "hello");
});

Deno.test("guide: there is no block that nobody runs", () => {
  for (const text of GUIDE.split("\n## ").slice(1)) {
    const [chapter] = text.split("\n", 1) as [string];
    const files = text.matchAll(/^```ts ignore\n\/\/ (\S+\.ts)$/gm);
    const names = Array.from(files, ([, name]) => name!);
    assertEquals(names, FILES[chapter] ?? [], chapter);
    const ignored = text.split("```ts ignore\n").length - 1;
    assertEquals(ignored - names.length, CALLS[chapter] ?? 0, chapter);
  }
});

/** The anchors that the headings of a document have. */
function anchors(text: string): Set<string> {
  const headings = text.matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading]) =>
      heading!.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")
    ),
  );
}

// JSR resolves relative links of a README, unless they begin with a slash.
Deno.test("all links in the documents are relative, and lead somewhere", async () => {
  const broken: string[] = [];
  for (const document of DOCUMENTS) {
    const text = await read(document);
    for (const [, target] of text.matchAll(/\]\(([^)]+)\)/g)) {
      const url = new URL(target!, new URL(document, ROOT));
      const hash = url.hash.slice(1);
      url.hash = "";
      try {
        if (target!.startsWith("/")) throw new Error("it begins with a slash");
        const file = await Deno.stat(url);
        if (hash === "" || !file.isFile) continue;
        if (!anchors(await Deno.readTextFile(url)).has(hash)) {
          throw new Error("there is no such heading");
        }
      } catch (error) {
        broken.push(`${document}: ${target}: ${(error as Error).message}`);
      }
    }
  }
  assertEquals(broken, []);
});
