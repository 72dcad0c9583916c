/**
 * Which servers survive which faults: every fault against the same echo server
 * made in five ways, each of them a fresh process, each cell measured.
 *
 * ```sh
 * deno task survival                    # prints the table
 * deno task survival --write README.md  # also puts it between the markers there
 * ```
 *
 * Linux only: what a server burns and holds is read from /proc.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import net from "node:net";
import {
  cpuSeconds,
  descriptors,
  FAULTS,
  moduleFlags,
  Program,
  roundTrip,
  writeAll,
} from "../tests/faults.ts";

/** Measured on two cores; most of it is waiting, which is part of the faults. */
const ESTIMATE = "Takes about four minutes.";

const HELP = `Usage: survival.ts [options]

Runs each fault against each kind of server and prints what became of it.
${ESTIMATE}

Options:
  --write FILE  Put the table between <!-- survival --> and <!-- /survival -->
  --help        Show this and exit`;

const SERVER = new URL("survival_server.mjs", import.meta.url).pathname;

interface Kind {
  title: string;
  command: string;
  args: string[];
  /** Whether it takes the PROXY protocol. */
  proxy?: boolean;
}

const deno = (kind: string) => ({
  command: Deno.execPath(),
  args: ["run", "-A", "--quiet", ...moduleFlags(), SERVER, kind],
});

const KINDS: Kind[] = [
  { title: "`for await` over `Deno.listen`", ...deno("for-await") },
  { title: "`accept()` in a loop with `try`/`catch`", ...deno("try-catch") },
  { title: "`node:net` in Deno", ...deno("net") },
  { title: "`net.Server` in Node", command: "node", args: [SERVER, "net"] },
  { title: "`@evconn/listener`", ...deno("listener"), proxy: true },
];

interface Fault {
  title: string;
  /** The program without which the fault cannot be had. */
  needs?: string;
  /** What `survival_server.mjs` is told; "plain" if it is left out. */
  mode?: "blocked" | "limits" | "proxy" | "crowd";
  maxDescriptors?: number;
  tls?: boolean;
  /** Lets it happen; resolves to what there is to say about it. */
  run(port: number, server: Target): Promise<string | void>;
}

/** The server that a fault meets. */
interface Target {
  pid: number;
  /** Whether a new client is served now. */
  serves(): Promise<boolean>;
}

/** The limit of the servers that have one. */
const LIMIT = 50;
/** How long the clients of a limited server stay, in ms: three times its timeouts. */
const STAY = 3000;
/** What every client of a server behind a proxy begins with. */
const PROXY_HEADER = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";

const FAULTS_TO_RUN: Fault[] = [
  {
    title: "20,000 clients reset, the event loop blocked half of the time",
    mode: "blocked",
    async run(port) {
      await using clients = Program.deno([FAULTS, "reset", `${port}`, "20000"]);
      await clients.status;
    },
  },
  {
    title: "`nmap -sT`, ten times",
    needs: "nmap",
    async run(port) {
      for (let i = 0; i < 10; i++) {
        await new Deno.Command("nmap", {
          args: ["-n", "-Pn", "-sT", "-p", `${port}`, "127.0.0.1"],
          stdout: "null",
        }).output();
      }
    },
  },
  {
    title: "200 clients for 2 s, with `ulimit -n 64`",
    maxDescriptors: 64,
    run: (port) => withClients(port, 200, countAnswers),
  },
  {
    title: "A handler that fails",
    async run(port) {
      using client = await connect(port);
      await roundTrip(client, "bug");
      await client.read(new Uint8Array(1)); // until the server ends it
    },
  },
  {
    title: "100 clients reset in the middle of a transfer",
    async run(port) {
      for (let i = 0; i < 100; i++) await resetMidTransfer(port);
    },
  },
  {
    title: "A process with 100 connections is killed",
    async run(port) {
      await using clients = Program.deno([FAULTS, "hold", `${port}`, "100"]);
      await clients.lineAfter("holding");
    },
  },
  {
    title: "1,000 clients connect and say nothing for 1 s",
    run: (port) => withClients(port, 1000, () => pause(1000)),
  },
  {
    title: "TLS: 50 clients speak plain text, 50 stop in the handshake",
    needs: "openssl",
    tls: true,
    async run(port) {
      const plain = new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n");
      const half = new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 42]);
      await withClients(port, 100, async (clients) => {
        for (const [i, client] of clients.entries()) {
          await client.write(i % 2 ? plain : half).catch(() => {});
        }
        await pause(1000);
      });
    },
  },
  {
    title: `${LIMIT} silent clients, as many as the limit allows`,
    mode: "limits",
    run: (port, server) =>
      withClients(port, LIMIT, (clients) => stay(clients, server)),
  },
  {
    title: "A client that sends 64 MB and never reads",
    mode: "limits",
    run: (port, server) =>
      withClients(port, 1, ([client]) => neverRead(client!, server)),
  },
  {
    title: `${LIMIT} clients stop in the PROXY header, with the limit ${LIMIT}`,
    mode: "proxy",
    run: (port, server) =>
      withClients(port, LIMIT, async (clients) => {
        const half = new TextEncoder().encode(PROXY_HEADER.slice(0, 20));
        for (const client of clients) await client.write(half);
        return await stay(clients, server);
      }),
  },
  {
    title: "One client opens 5,000 connections",
    mode: "crowd",
    run: crowd,
  },
];

const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

/** How long a fault lasts is part of the fault. */
const pause = (ms: number) => new Promise<void>((go) => setTimeout(go, ms));

/** Has so many clients connected while something happens, or as many as can be. */
async function withClients<T>(
  port: number,
  count: number,
  during: (clients: Deno.TcpConn[]) => Promise<T>,
): Promise<T> {
  using clients = new DisposableStack();
  const conns: Deno.TcpConn[] = [];
  while (conns.length < count) {
    conns.push(clients.use(await connect(port)));
  }
  return await during(conns);
}

/** Clients that ask, wait at least 2 s, and leave with their answer or without. */
async function countAnswers(clients: Deno.TcpConn[]): Promise<string> {
  const asked = clients.map((client) =>
    roundTrip(client, "hello?").catch(() => "")
  );
  await pause(2000);
  const patience = setTimeout(
    () => clients.forEach((client) => client[Symbol.dispose]()),
    10_000,
  );
  let answered = 0;
  for (const [i, client] of clients.entries()) {
    if (await asked[i] === "hello?") answered++;
    client[Symbol.dispose]();
  }
  clearTimeout(patience);
  return `${answered} of ${clients.length} answered`;
}

/** A client that resets while the server is sending. */
function resetMidTransfer(port: number): Promise<void> {
  const closed = Promise.withResolvers<void>();
  const client = net.connect(port, "127.0.0.1");
  client.once("connect", () => client.write(new Uint8Array(1024 * 1024)));
  client.once("data", () => client.resetAndDestroy());
  client.once("error", () => {});
  client.once("close", () => closed.resolve());
  return closed.promise;
}

/** Clients that wait for the server to do something. */
async function stay(
  clients: Deno.TcpConn[],
  { serves }: Target,
): Promise<string> {
  let closed = 0;
  for (const client of clients) {
    client.read(new Uint8Array(1)).catch(() => {}).then(() => closed++);
  }
  await pause(STAY);
  const what = closed === 0 ? "kept them" : `closed ${closed} of them`;
  return `${what}, ${besides(await serves())}`;
}

/** One address that opens many connections, one after the other, and keeps them. */
async function crowd(port: number, { serves }: Target): Promise<string> {
  const sockets: net.Socket[] = [];
  for (let i = 0; i < 5000; i++) {
    const socket = net.connect({
      port,
      host: "127.0.0.1",
      localAddress: "127.0.0.2",
    });
    socket.on("error", () => {});
    sockets.push(socket);
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once("connect", () => resolve());
    socket.once("close", () => resolve());
    await promise;
  }
  const served = await serves();
  for (const socket of sockets) socket.destroy();
  return besides(served);
}

/** Whether somebody else was served while the clients of a fault were there. */
function besides(served: boolean): string {
  return served ? "served another" : "**served no other**";
}

/** Sends for as long as the server takes it, up to 64 MB, and reads nothing. */
async function neverRead(
  client: Deno.TcpConn,
  { pid, serves }: Target,
): Promise<string> {
  const before = megabytes(pid);
  let most = before;
  let end = "kept it";
  const send = async () => {
    const bytes = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 64; i++) await writeAll(client, bytes);
  };
  send().catch(() => end = "cut it off");
  for (let ms = 0; ms < STAY; ms += 100) {
    await pause(100);
    most = Math.max(most, megabytes(pid));
  }
  const grown = `grew by ${Math.round(most - before)} MB`;
  const served = await serves();
  return [grown, end, besides(served)].join(", ");
}

/** The memory (RSS) of a process. */
function megabytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

interface Outcome {
  /** Why the process ended, if it did. */
  died?: string;
  served: boolean;
  cpu: number;
  leaked: number;
  /** What the fault has to say beside these. */
  note?: string | void;
}

/** A client as the fault's server wants it. */
async function newClient(
  port: number,
  fault: Fault,
  { cert }: Certificate,
): Promise<Deno.Conn> {
  if (fault.tls) {
    return await Deno.connectTls({
      hostname: "localhost",
      port,
      caCerts: [cert],
    });
  }
  const conn = await connect(port);
  if (fault.mode === "proxy") {
    await writeAll(conn, new TextEncoder().encode(PROXY_HEADER));
  }
  return conn;
}

/** Whether a new client is served, before it loses patience. */
async function isServed(connecting: Promise<Deno.Conn>): Promise<boolean> {
  try {
    using conn = await connecting;
    const patience = setTimeout(() => conn.close(), 5000);
    try {
      return await roundTrip(conn, "hello?") === "hello?";
    } finally {
      clearTimeout(patience);
    }
  } catch {
    return false;
  }
}

/** One cell: a fresh server, the fault, and what is left of the server. */
async function measure(
  kind: Kind,
  fault: Fault,
  certificate: Certificate,
): Promise<Outcome> {
  const args = [
    ...kind.args,
    fault.mode ?? "plain",
    ...(fault.tls ? certificate.files : []),
  ];
  await using server = fault.maxDescriptors === undefined
    ? new Program(kind.command, args)
    : Program.limited(fault.maxDescriptors, kind.command, args);
  const port = Number(await server.lineAfter("port "));
  const serves = () => isServed(newClient(port, fault, certificate));
  if (!await serves()) throw new Error(`Never served: ${server.stderr}`);
  await pause(500); // until whatever a runtime opens late is open
  const open = descriptors(server.pid);
  const cpu = cpuSeconds(server.pid);

  let ended: Deno.CommandStatus | undefined;
  server.status.then((status) => ended = status);
  const note = await fault.run(port, { pid: server.pid, serves })
    .catch(() => {}); // a dead server refuses clients
  const served = await serves();
  if (!served) await Promise.race([server.status, pause(200)]);
  if (ended !== undefined) {
    return { died: reason(server.stderr), served, cpu: 0, leaked: 0 };
  }
  const burned = cpuSeconds(server.pid) - cpu;
  for (let i = 0; i < 100 && descriptors(server.pid) > open; i++) {
    await pause(20);
  }
  const leaked = descriptors(server.pid) - open;
  return { served, cpu: burned, leaked: Math.max(0, leaked), note };
}

/** What a process died of: what its runtime says about an uncaught error. */
function reason(stderr: string): string {
  const line = stderr.split("\n").find((line) => /^error: |Error: /.test(line));
  return (line ?? "without a word")
    .replace(/^error: Uncaught (\(in promise\) )?/, "")
    .replace(/^Error: /, "")
    .replace(/ \(os error \d+\)$/, "");
}

interface Certificate {
  cert: string;
  files: [cert: string, key: string];
}

/** A certificate for localhost, in files. */
async function makeCertificate(dir: string): Promise<Certificate> {
  const files: [string, string] = [`${dir}/cert.pem`, `${dir}/key.pem`];
  const [cert, key] = files;
  const { success, stderr } = await new Deno.Command("openssl", {
    args: ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
      .concat(["-keyout", key, "-out", cert, "-subj", "/CN=localhost"])
      .concat(["-addext", "subjectAltName=DNS:localhost"])
      .concat(["-addext", "basicConstraints=critical,CA:FALSE"]),
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return { cert: await Deno.readTextFile(cert), files };
}

function show({ died, served, cpu, leaked, note }: Outcome): string {
  if (died !== undefined) return `**died**: ${died}`;
  const figures = [
    served ? "serves" : "**deaf**",
    `${cpu.toFixed(2)} s`,
    leaked,
  ];
  return [...figures, ...(note ? [note] : [])].join(", ");
}

/** A Markdown table as `deno fmt` would have it. */
function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.map((row) => row[column]!.length))
  );
  const lines = rows.map((row) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  );
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}

/** Puts the text between the markers of a file. */
async function write(file: string, text: string): Promise<void> {
  const before = await Deno.readTextFile(file);
  const between = /(<!-- survival -->\n)[^]*?(<!-- \/survival -->)/;
  if (!between.test(before)) {
    throw new Error(`There are no <!-- survival --> markers in ${file}`);
  }
  const after = before.replace(
    between,
    (_, start, end) => `${start}\n${text}\n\n${end}`,
  );
  await Deno.writeTextFile(file, after);
}

async function version(
  command: string,
  arg = "--version",
): Promise<string | undefined> {
  try {
    const { stdout } = await new Deno.Command(command, { args: [arg] })
      .output();
    return new TextDecoder().decode(stdout).split("\n", 1)[0];
  } catch {
    return undefined;
  }
}

/** Why a cell cannot be measured, if it cannot. */
function whatLacks(
  kind: Kind,
  fault: Fault,
  found: Record<string, unknown>,
): string | undefined {
  const missing = [fault.needs, kind.command]
    .find((name) => name! in found && !found[name!]);
  if (missing) return `not run: no ${missing}`;
  if (fault.mode === "proxy" && !kind.proxy) return "has no PROXY protocol";
}

/** The rows of the table, the heading first. Says on stderr how far it is. */
async function measureAll(
  certificate: Certificate,
  found: Record<string, unknown>,
): Promise<string[][]> {
  const rows = [["Fault", ...KINDS.map((kind) => kind.title)]];
  for (const fault of FAULTS_TO_RUN) {
    const row = [fault.title];
    for (const kind of KINDS) {
      const lacks = whatLacks(kind, fault, found);
      const cell = lacks ?? show(await measure(kind, fault, certificate));
      console.error(`${fault.title} – ${kind.title}: ${cell}`);
      row.push(cell);
    }
    rows.push(row);
  }
  return rows;
}

function legend(node: string | undefined): string {
  return `"serves": a new client is answered afterwards; "deaf": the process is there and
answers nobody. The handlers of all five catch what reading and writing throws.

The last four rows meet servers with limits, as far as they can have them. In three
of them these take ${LIMIT} connections at most and close one that says nothing for 1 s:
\`maxConnections\` with \`idleTimeout\` or \`handshakeTimeout\` here,
\`maxConnections\` with \`setTimeout()\` for \`node:net\`. In the last one they take
1,000, and here 50 of one client (\`maxConnectionsPerPeer\`). \`Deno.listen\` has no
limit and no timeout.

Measured with Deno ${Deno.version.deno} and Node ${
    node?.slice(1) ?? "(none)"
  } on Linux.`;
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["help"],
    string: ["write"],
    unknown: (arg) => {
      console.error(`Unknown option: ${arg}`);
      Deno.exit(1);
    },
  });
  if (args.help) return console.log(HELP);
  console.error(ESTIMATE);

  const dir = await Deno.makeTempDir();
  try {
    const node = await version("node");
    const openssl = await version("openssl", "version");
    const nmap = await version("nmap");
    const certificate = openssl
      ? await makeCertificate(dir)
      : { cert: "", files: ["", ""] as [string, string] };
    const rows = await measureAll(certificate, { node, openssl, nmap });
    const text = `${table(rows)}\n\n${legend(node)}`;
    console.log(text);
    if (args.write) await write(args.write, text);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) await main();
