/** What all examples have in common: their options, messages, and the commands in their headers. */
import { assertEquals, assertMatch } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { formatAddress } from "../../examples/messages.ts";
import { startExample } from "../helpers/example_process.ts";
import { headerCommands, withThisDeno } from "../helpers/header_commands.ts";
import { addressInUse } from "../helpers/os_words.ts";

const TESTDATA = `${import.meta.dirname}/../testdata/`;
const CERTIFICATE = [
  ...["--cert", `${TESTDATA}localhost.crt`],
  ...["--key", `${TESTDATA}localhost.key`],
];

/** What the servers may do. */
const FLAGS = [
  ...["--allow-net", "--allow-read", "--unstable-net"],
  "--allow-env=WS_NO_BUFFER_UTIL,WS_NO_UTF_8_VALIDATE",
];

/** The servers, with the arguments that let each of them listen on a port of 127.0.0.1. */
const SERVERS: Record<string, (port: string, target: string) => string[]> = {
  "behind_haproxy/server": (port) => [port],
  chat_server: (port) => [port],
  "factors/main": (port) => [port],
  echo_server: (port) => ["--hostname", "127.0.0.1", port],
  http_server: (port) => [port],
  metrics: (port) => ["--metrics-port", "0", port],
  "parallel_echo/main": (port) => [port],
  redis_server: (port) => [port],
  smtp_server: (port) => [...CERTIFICATE, port],
  starttls_server: (port) => [...CERTIFICATE, port],
  tcp_proxy: (port, target) => [port, target],
  tls_echo_server: (
    port,
  ) => [...CERTIFICATE, "--hostname", "127.0.0.1", port],
};

for (const [name, args] of Object.entries(SERVERS)) {
  Deno.test(`${name} has --help, and says what is wrong with its arguments`, async () => {
    using target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const taken = formatAddress(target.addr);
    const expected: [string[], number, RegExp][] = [
      [["--help"], 0, new RegExp(`^Usage: ${name.split("/").at(-1)}\\.ts `)],
      [["--nosuch"], 1, /^Unknown option: --nosuch\n$/],
      [args("x", taken), 1, /^(Invalid port|.* Invalid address: "x")\n$/],
      [args("65536", taken), 1, /^(Invalid port|.* Invalid address: .*)\n$/],
      [
        args(`${target.addr.port}`, taken),
        1,
        new RegExp(`^Cannot listen on ${taken}: ${addressInUse()}.*\n$`),
      ],
    ];
    await Promise.all(expected.map(async ([args, code, text]) => {
      await using server = startExample(name, args, FLAGS);
      const output = await server.output();
      assertEquals(output.code, code);
      // Either of the two is empty.
      assertMatch(output.stdout + output.stderr, text);
    }));
  });

  if (name === "behind_haproxy/server") continue; // its clients are HAProxy's

  Deno.test(`${name} --verbose prints where each client has connected from`, async () => {
    // This one refuses 0, as libevent's does.
    const given = name === "echo_server" ? `${freePort()}` : "0";
    using target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    await using server = startExample(
      name,
      ["--verbose", ...args(given, formatAddress(target.addr))],
      FLAGS,
    );
    const port = await server.port();
    for (let i = 0; i < 2; i++) {
      using client = await Deno.connect({ hostname: "127.0.0.1", port });
      const address = formatAddress(client.localAddr);
      assertEquals(await server.line(/^client/), `client ${address}`);
    }
  });
}

Deno.test(
  "chat_server --verbose says that a client of a Unix socket has no address",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    const folder = await Deno.makeTempDir();
    const path = `${folder}/chat.sock`;
    await using server = startExample(
      "chat_server",
      ["--verbose", "--unix", path],
      ["--allow-net", "--allow-read", "--allow-write"],
    );
    assertEquals(await server.line(), `Chatting on ${path}`);
    using _client = await Deno.connect({ transport: "unix", path });
    assertEquals(await server.line(), "client (unnamed)");
    await Deno.remove(folder, { recursive: true });
  },
);

Deno.test("formatAddress() writes addresses as one types them", () => {
  const port = 9876;
  assertEquals(formatAddress({ hostname: "::1", port }), "[::1]:9876");
  assertEquals(formatAddress({ hostname: "10.0.0.1", port }), "10.0.0.1:9876");
  assertEquals(formatAddress({ path: "chat.sock" }), "chat.sock");
});

/** All that can be run, which is all that have such a header. */
const PROGRAMS = [
  ...Object.keys(SERVERS).map((name) => `${name}.ts`),
  "rolling_restart.ts",
  "behind_haproxy/restart_under_load.ts",
];

Deno.test("the header of each example says how to run it in a clone, without JSR", () => {
  for (const program of PROGRAMS) {
    const own = headerCommands(program)
      .filter((line) => line.includes(" task "));
    assertMatch(own[0] ?? "", /^deno task /, program);
    for (const command of own) {
      assertMatch(command, /^(OTEL_DENO=true )?deno task example /);
      assertEquals(
        command.split("example ")[1]!.split(" ")[0],
        `examples/${program}`,
      );
    }
  }
});

/** Runs a command until it prints something, and returns that. */
async function firstOutput(command: string): Promise<string> {
  // In a process group of its own, because the task starts other processes.
  const child = new Deno.Command("sh", {
    args: ["-c", withThisDeno(command)],
    cwd: new URL("../..", import.meta.url),
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    detached: true,
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value = "", done } = await reader.read();
  if (!done) Deno.kill(-child.pid, "SIGTERM");
  await child.status;
  await reader.cancel();
  return value;
}

/** A command with another port, because its own may be in use. */
function onPort(port: number, command: string): string {
  return command.replace(/--metrics-port \d+/, "--metrics-port 0")
    .replace(/ \d{4}(?= |$)/, ` ${port}`);
}

Deno.test(
  "the command in the header of each server starts it, with its arguments",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    const names = Object.keys(SERVERS);
    const ports = names.map(() => freePort());
    const outputs = await Promise.all(names.map((name, i) => {
      const [command = ""] = headerCommands(`${name}.ts`);
      return firstOutput(onPort(ports[i]!, command));
    }));
    for (const [i, output] of outputs.entries()) {
      assertMatch(output, new RegExp(`:${ports[i]}/?\n`), names[i]);
    }
  },
);
