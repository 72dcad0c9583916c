/** What `deno test --doc` cannot run of the documents: two files at once, and links. */
import { assertEquals } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { connect, readAll } from "../helpers/clients.ts";
import { Process } from "../helpers/example_process.ts";
import { name, serveRegistry, version } from "../helpers/registry.ts";
import { TempDir } from "../helpers/temp_dir.ts";

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

Deno.test("guide: the two files of a service on every core, and their command", async () => {
  const guide = await read("docs/guide.md");
  await using dir = new TempDir();
  const port = freePort();
  for (const file of ["main.ts", "worker.ts"]) {
    const [, program] = guide.split(`// ${file}\n`);
    await Deno.writeTextFile(
      `${dir.path}/${file}`,
      program!.split("```")[0]!.replace("9876", `${port}`),
    );
  }
  await using registry = await serveRegistry();
  const imports = { [name]: `jsr:${name}@${version}` };
  await Deno.writeTextFile(
    `${dir.path}/deno.json`,
    JSON.stringify({ imports }),
  );
  const [, command] = /^deno (run .*--allow-read=worker.ts.*)$/m.exec(guide)!;
  await using service = new Process(
    Deno.execPath(),
    command!.split(" "),
    { JSR_URL: registry.url, DENO_DIR: `${dir.path}/cache` },
    undefined,
    dir.path,
  );
  await service.line(/^Port/);
  const addr = { transport: "tcp" as const, hostname: "127.0.0.1", port };
  assertEquals(await readAll(await connect({ addr })), "hello\n");
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
