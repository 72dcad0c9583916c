/** examples/socket_activation.ts, started as systemd starts it. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { formatAddress } from "../../examples/messages.ts";
import { until } from "../helpers/clients.ts";
import { Process, startExample } from "../helpers/example_process.ts";
import { exchange, roundTrip, writeAll } from "../helpers/faults.ts";
import { headerCommands, withThisDeno } from "../helpers/header_commands.ts";
import { missing } from "../helpers/missing.ts";

const ENV = "--allow-env=LISTEN_PID,LISTEN_FDS";
const ignore = missing("systemd-socket-activate");

interface Activated extends AsyncDisposable {
  process: Process;
  connect(): Promise<Deno.TcpConn>;
}

/** Opens the socket. The program itself is started by the first client. */
async function activate(...command: string[]): Promise<Activated> {
  const port = freePort();
  const process = new Process("systemd-socket-activate", [
    ...["--setenv=NO_COLOR=1", "--setenv=DENO_DIR"],
    ...["--listen", `127.0.0.1:${port}`, ...command],
  ]);
  await process.errorLine(/^Listening on/);
  return {
    process,
    connect: () => Deno.connect({ hostname: "127.0.0.1", port }),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** The example, with nothing allowed but what its header says. */
function activateExample(...keeper: string[]): Promise<Activated> {
  const offline = import.meta.resolve("@std/assert").startsWith("file:");
  const map = offline ? ["--import-map=offline/import_map.json"] : [];
  return activate(
    ...[...keeper, Deno.execPath(), "run", "--quiet", "--no-prompt", ...map],
    ...[ENV, "examples/socket_activation.ts"],
  );
}

/** Keeps the socket while it starts the server twice, as systemd would. */
const KEEPER = [
  ...["sh", "-c", 'for i in 1 2; do sh -c "$0" sh "$@"; done'],
  'LISTEN_PID=$$ exec "$@"',
];

Deno.test("socket activation: the client that starts the server is served", {
  ignore,
}, async () => {
  await using server = await activateExample();
  const bytes = new Uint8Array(4 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * i >> 4;
  const echoed = await exchange(await server.connect(), bytes);
  assertEquals(echoed.length, bytes.length);
  assert(echoed.every((byte, i) => byte === bytes[i]));
});

Deno.test("socket activation: the server drains and survives resets", {
  ignore,
}, async () => {
  await using server = await activateExample();
  using conn = await server.connect();
  assertEquals(await roundTrip(conn, "hello"), "hello");
  for (let i = 0; i < 10; i++) {
    using rude = await server.connect();
    await writeAll(rude, new Uint8Array(10_000)); // closing with unread echoes resets
  }
  assertEquals(await roundTrip(conn, "again"), "again");
  server.process.kill("SIGTERM");
  await untilRefused(server);
  assertEquals(await roundTrip(conn, "still"), "still");
  await conn.closeWrite();
  assertEquals(await conn.read(new Uint8Array(1)), null);
  const { code, stdout, stderr } = await server.process.output();
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "Echoing on 127.0.0.1:");
  // What systemd-socket-activate has written, and nothing else.
  assertEquals(stderr.trim().split("\n").at(-1)?.startsWith("Execing"), true);
});

async function untilRefused({ connect }: Activated): Promise<void> {
  for (;;) {
    try {
      (await connect()).close();
    } catch {
      return; // Nobody else has the socket here. With systemd, clients would wait.
    }
  }
}

Deno.test("socket activation: clients wait while the server restarts", {
  ignore,
}, async () => {
  await using keeper = await activateExample(...KEEPER);
  {
    using conn = await keeper.connect();
    assertEquals(await roundTrip(conn, "hello"), "hello");
  }
  const { pid } = keeper.process;
  const first = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  Deno.kill(Number(first), "SIGTERM");
  await until(() => !isRunning(Number(first)));
  using conn = await keeper.connect(); // whoever is there to serve it
  assertEquals(await roundTrip(conn, "again"), "again");
  const second = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  Deno.kill(Number(second), "SIGTERM");
  conn.close();
  assertEquals((await keeper.process.output()).code, 0);
});

function isRunning(pid: number): boolean {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
}

/** The port is written into it, and Deno's path. */
function headerCommand(port: number): string {
  const [command = ""] = headerCommands("socket_activation.ts");
  return withThisDeno(command).replace(":9876 ", `:${port} `);
}

Deno.test(
  "socket activation: the command in the header starts it, --verbose prints each client",
  {
    ignore,
  },
  async () => {
    const port = freePort();
    const command = `exec ${headerCommand(port)} --verbose`;
    await using process = new Process("sh", ["-c", command]);
    await process.errorLine(/^Listening on/);
    for (let i = 0; i < 2; i++) {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      assertEquals(await roundTrip(conn, "hello"), "hello");
      assertEquals(
        await process.line(/^client/),
        `client ${formatAddress(conn.localAddr)}`,
      );
    }
    process.kill("SIGTERM");
    assertEquals((await process.output()).code, 0);
  },
);

Deno.test("socket activation: it says what is wrong", async () => {
  for (
    const [args, code, text] of [
      [[], 1, /^Needs one socket from systemd, has 0\n$/],
      [["--nosuch"], 1, /^Unknown option: --nosuch\n$/],
      [["9876"], 1, /^It takes no port: systemd has opened the socket\n$/],
      [["--help"], 0, /^Usage: socket_activation.ts \[options\]\n/],
    ] as const
  ) {
    await using server = startExample("socket_activation", [...args], [ENV]);
    const output = await server.output();
    assertEquals(output.code, code);
    assertMatch(output.stdout + output.stderr, text);
  }
});
