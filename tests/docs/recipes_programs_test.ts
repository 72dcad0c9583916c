/** docs/recipes.md: its commands, units and Dockerfile, run as they stand there. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { Process, run } from "../helpers/example_process.ts";
import { roundTrip } from "../helpers/faults.ts";
import { headerCommands } from "../helpers/header_commands.ts";
import { HAS_SIGNALS } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import { languages, recipe } from "../helpers/recipes.ts";
import { TempDir } from "../helpers/temp_dir.ts";

/** Blocks that are run here, in tests/docs/recipes_proxies_test.ts, and by the examples' tests. */
const RUN: Record<string, string> = {
  "The client's address behind HAProxy and nginx": "ts haproxy nginx",
  "HTTP and WebSocket": "sh",
  "Every core": "sh",
  "Leaving a load balancer": "ts ignore haproxy",
  "Docker": "dockerfile",
  "systemd": "ini",
  "Socket activation": "ini sh",
  "MPTCP": "sh",
};

Deno.test("recipes: there is no block that nobody runs", () => {
  for (const [section, language] of languages()) {
    assertStringIncludes(RUN[section] ?? "ts", language, section);
  }
});

for (
  const [section, example] of [
    ["Every core", "parallel_echo/main.ts"],
    ["HTTP and WebSocket", "http_server.ts"],
  ] as const
) {
  Deno.test(`recipes: ${section} has the command of the example, which is run there`, () => {
    assertEquals(recipe(section, "sh").trim(), headerCommands(example)[0]);
  });
}

/** A command that runs the echo server with Deno, on a port of its own. */
async function serve(command: string[]): Promise<[Process, port: number]> {
  const offline = import.meta.resolve("@std/assert").startsWith("file:");
  const port = freePort();
  const map = offline ? ["--import-map=offline/import_map.json"] : [];
  const [program, ...args] = command.flatMap((word, i) => {
    if (word === "9876") return String(port);
    if (isDeno(word)) return Deno.execPath();
    return isDeno(command[i - 1]) ? [word, ...map] : word; // "run"
  });
  const process = new Process(program!, args);
  assertEquals(await process.port(), port);
  return [process, port];
}

function isDeno(word = ""): boolean {
  return word.split("/").at(-1) === "deno";
}

/** Serves a client that is there at a SIGTERM to its end, and leaves. */
async function assertDrains(process: Process, port: number): Promise<void> {
  await using server = process;
  using client = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await roundTrip(client, "hello"), "hello");
  server.kill("SIGTERM");
  await server.line(/^Connections still open: 1\./);
  assertEquals(await roundTrip(client, "again"), "again");
  client.close();
  assertEquals((await server.output()).code, 0);
}

Deno.test("recipes: what the Dockerfile starts serves, and drains on SIGTERM", {
  ignore: !HAS_SIGNALS,
}, async () => {
  const file = recipe("Docker", "dockerfile");
  await assertDrains(...await serve(JSON.parse(/^CMD (.*)$/m.exec(file)![1]!)));
});

Deno.test("recipes: what the unit starts serves, and drains on SIGTERM", {
  ignore: !HAS_SIGNALS,
}, async () => {
  const [, command] = /^ExecStart=(.*)$/m.exec(recipe("systemd", "ini"))!;
  await assertDrains(...await serve(command!.split(" ")));
});

Deno.test("recipes: systemd has nothing against the units", {
  ignore: missing("systemd-analyze"),
}, async () => {
  await using folder = new TempDir();
  const [service, socket] = ["service", "socket"]
    .map((kind) => `${folder.path}/echo.${kind}`) as [string, string];
  await Deno.writeTextFile(
    service,
    recipe("systemd", "ini").replace("/usr/bin/deno", Deno.execPath()),
  );
  await Deno.writeTextFile(socket, recipe("Socket activation", "ini"));
  const { code, stderr } = await run("systemd-analyze", [
    ...["verify", "--man=no", service, socket],
  ]);
  // Whatever it thinks of units that are installed here.
  const about = stderr.split("\n").filter((line) => line.includes("echo."));
  assertEquals([code, about], [0, []], stderr);
});

const MPTCP = await Deno.readTextFile("/proc/sys/net/mptcp/enabled")
  .catch(() => "0"); // there is none

Deno.test("recipes: with mptcpize the server listens for MPTCP", {
  ignore: missing("mptcpize", "ss") || MPTCP.trim() !== "1",
}, async () => {
  const command = recipe("MPTCP", "sh").trim().split(" ");
  const [process, port] = await serve(command);
  const { stdout } = await run("ss", ["-HMltn", `sport = :${port}`]);
  assertStringIncludes(stdout, "mptcp");
  await assertDrains(process, port);
});
