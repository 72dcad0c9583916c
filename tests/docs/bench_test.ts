/** What the bench says about itself. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { chart } from "../../bench/chart.ts";
import { summarise } from "../../bench/summary.ts";
import { Program } from "../helpers/faults.ts";

/** Runs a program of the bench to its end. */
async function runBench(file: string, ...args: string[]) {
  await using program = Program.deno([
    import.meta.resolve(`../../bench/${file}`),
    ...args,
  ]);
  const lines: string[] = [];
  const { code } = await program.status;
  for (;;) {
    const line = await program.line().catch(() => undefined);
    if (line === undefined) break;
    lines.push(line);
  }
  return { code, stdout: lines.join("\n"), stderr: program.stderr };
}

Deno.test("bench: a peer that does not exist is an error that names those that do", async () => {
  const { code, stdout, stderr } = await runBench(
    "main.ts",
    "accept",
    "--peers",
    "callback,nope",
  );
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, "Unknown peer: nope\n");
  assertStringIncludes(stderr, "listen, callback\n");
});

Deno.test({
  name: "bench: --short says that its ratios mean nothing",
  ignore: Deno.build.os === "windows",
  async fn() {
    const args = ["shutdown", "--short", "--peers", "callback"];
    const { code, stdout, stderr } = await runBench("main.ts", ...args);
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /, round 1: by hand: ms \d/);
    assertStringIncludes(stdout, "ratios mean nothing");
  },
});

Deno.test("survival: --help says how long it takes", async () => {
  const { stdout } = await runBench("survival.ts", "--help");
  assertStringIncludes(stdout, "Takes about five minutes.");
});

Deno.test("chart() draws each bar by the number beside it, with its name whole", () => {
  const rounds = { a: [{ ms: 10 }, { ms: 100 }], b: [{ ms: 30 }, { ms: 100 }] };
  const svg = chart({
    title: "wait",
    columns: { ms: 0 },
    rows: (["a", "b"] as const).map((name) => ({
      name: `listen, ${name} & SO_REUSEPORT`,
      baseline: "listen, a & SO_REUSEPORT",
      figures: { ms: summarise("ms", rounds[name], rounds.a) },
    })),
  });
  // b has 65 ms and a has 55 ms, but the median of the rounds' ratios is 2.
  const bars = [...svg.matchAll(/class="bar ours" d="M([\d.]+) \d+H([\d.]+)/g)];
  const [a, b] = bars.map(([, start, end]) => Number(end) - Number(start));
  assertEquals(Number((b! / a!).toFixed(2)), 2);
  assertStringIncludes(svg, ">×2.00</text>");
  assertStringIncludes(svg, ">listen, b &amp; SO_REUSEPORT</text>");
});

/** The ratios in the first column of a result that was saved, by row. */
async function savedRatios(name: string): Promise<[string, string][]> {
  const url = new URL(`../../bench/results/${name}.txt`, import.meta.url);
  const text = await Deno.readTextFile(url);
  const rows = text.matchAll(/^(.+?) {2,}[\d.,]+ \(\S+\) +×([\d.]+)/gm);
  return Array.from(rows, ([, row, ratio]) => [row!, `×${ratio}`]);
}

Deno.test("docs/cost.md and README.md have the figures that the bench has saved", async () => {
  const read = (path: string) =>
    Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const rows = (await read("docs/cost.md"))
    .matchAll(/^\| (.+?) +\| (×[\d.]+)(?: to (×[\d.]+))? +\|$/gm);
  const saved = await savedRatios("accept");
  const names = new Map([
    ["a callback", "listen, callback"],
    ["a `for await` loop", "listen, iterator"],
  ]);
  let count = 0;
  for (const [, name, ...ratios] of rows) {
    const row = names.get(name!) ?? `listen, ${name!.replaceAll("`", "")}`;
    const expected = saved.filter(([name]) => name === row)
      .map(([, ratio]) => ratio).sort();
    assertEquals(ratios.filter((ratio) => ratio !== undefined), expected, row);
    count++;
  }
  assertEquals(count, 7);
  const callback = saved.find(([name]) => name === "listen, callback")!;
  assertStringIncludes(
    await read("README.md"),
    `takes ${callback[1].slice(1)} times the CPU time`,
  );
});

Deno.test("docs/guide.md has the cost of TLS that the bench has saved", async () => {
  const read = (path: string) =>
    Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const names = new Map([
    ["`listenTls()`", "listenTls"],
    ["`serveTls()`", "serveTls"],
    ["`node:tls` in Deno", "node:tls in Deno"],
    ["`node:tls` in Node.js", "Node"],
  ]);
  const saved = await read("bench/results/tls.txt");
  const rows = (await read("docs/guide.md"))
    .matchAll(/^\| (`\S+`(?: in \S+)?) +\| ([\d,]+) +\| ([\d,]+) +\|$/gm);
  let count = 0;
  for (const [, name, handshake, megabyte] of rows) {
    const medians = saved.matchAll(
      new RegExp(`^${names.get(name!)} {2,}([\\d,]+) `, "gm"),
    );
    const expected = Array.from(medians, ([, median]) => median);
    assertEquals([handshake, megabyte], expected, name);
    count++;
  }
  assertEquals(count, 4);
});
