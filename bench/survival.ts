/**
 * Which servers survive which faults: every fault against the same echo server
 * made in five ways, each of them a fresh process, each cell measured.
 *
 * ```sh
 * deno task survival                           # prints the table
 * deno task survival --write README.md --save  # also keeps it there, and in survival.md
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
} from "../tests/helpers/faults.ts";
import { table, write } from "./survival_table.ts";

/** Measured on two cores; most of it is waiting, which is part of the faults. */
const ESTIMATE = "Takes about four minutes.";

const HELP = `Usage: survival.ts [options]

Runs each fault against each kind of server and prints what became of it.
${ESTIMATE}

Options:
  --write FILE  Put the table, without the figures, between <!-- survival --> and
                <!-- /survival --> in this file
  --save        Put it with its figures there in bench/survival.md
  --help        Show this and exit`;

const SERVER = `${import.meta.dirname}/survival_server.mjs`;
const RESULTS = `${import.meta.dirname}/survival.md`;

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
  { title: "`for await`", ...deno("for-await") },
  { title: "`accept()`, caught", ...deno("try-catch") },
  { title: "`node:net`", ...deno("net") },
  { title: "Node", command: "node", args: [SERVER, "net"] },
  { title: "`listen()`", ...deno("listener"), proxy: true },
];

interface Fault {
  title: string;
  /** The program without which the fault cannot be had. */
  needs?: string;
  /** What `survival_server.mjs` is told; "plain" if it is left out. */
  mode?:
    | "blocked"
    | "limits"
    | "proxy"
    | "crowd"
    | "awaited"
    | "unawaited";
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
    title: "20,000 clients reset while they wait",
    mode: "blocked",
    async run(port) {
      await using clients = Program.deno([FAULTS, "reset", `${port}`, "20000"]);
      await clients.status;
    },
  },
  {
    title: "Ten port scans (`nmap -sT`)",
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
    title: "200 clients, 64 descriptors",
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
    title: "A served client resets, its handler awaited",
    mode: "awaited",
    run: resetMidTransfer,
  },
  {
    title: "A served client resets, its handler awaited by nobody",
    mode: "unawaited",
    run: resetMidTransfer,
  },
  {
    title: "100 clients reset during a transfer",
    async run(port) {
      for (let i = 0; i < 100; i++) await resetMidTransfer(port);
    },
  },
  {
    title: "A client with 100 connections is killed",
    async run(port) {
      await using clients = Program.deno([FAULTS, "hold", `${port}`, "100"]);
      await clients.lineAfter("holding");
    },
  },
  {
    title: "1,000 clients that say nothing",
    run: (port) => withClients(port, 1000, () => pause(1000)),
  },
  {
    title: "100 clients that break off the TLS handshake",
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
    title: "As many silent clients as the limit allows",
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
    title: "As many that stop in the PROXY header",
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

const NO_OTHER = "**served no other**";

/** Whether somebody else was served while the clients of a fault were there. */
function besides(served: boolean): string {
  return served ? "served another" : NO_OTHER;
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

/** A cell of the table, in short and with figures. */
interface Cell {
  mark: string;
  text: string;
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
  // One that is dying is not deaf: on a busy machine its end takes a while.
  if (!served) await Promise.race([server.status, pause(3000)]);
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

function show({ died, served, cpu, leaked, note }: Outcome): Cell {
  if (died !== undefined) return { mark: "✗ ends", text: `**died**: ${died}` };
  const state = served ? "serves" : "**deaf**";
  const figures = [state, `${cpu.toFixed(2)} s`, leaked];
  const text = [...figures, ...(note ? [note] : [])].join(", ");
  if (!served) return { mark: "✗ is deaf", text };
  if (note?.includes(NO_OTHER)) return { mark: "✗ is full", text };
  const [, answered, asked] = /(\d+) of (\d+) answered/.exec(note ?? "") ?? [];
  return { mark: answered === asked ? "✓" : "✗ loses some", text };
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
): Promise<Cell[][]> {
  const heading = ["Fault", ...KINDS.map((kind) => kind.title)];
  const rows = [heading.map((text) => ({ mark: text, text }))];
  for (const fault of FAULTS_TO_RUN) {
    const row = [{ mark: fault.title, text: fault.title }];
    for (const kind of KINDS) {
      const lacks = whatLacks(kind, fault, found);
      const cell = lacks
        ? { mark: "–", text: lacks }
        : show(await measure(kind, fault, certificate));
      console.error(`${fault.title} – ${kind.title}: ${cell.text}`);
      row.push(cell);
    }
    rows.push(row);
  }
  return rows;
}

function legend(node = "v(none)"): string {
  return `Measured with Deno ${Deno.version.deno} and Node ${
    node.slice(1)
  } on Linux.`;
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["help", "save"],
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
    const marks = table(rows.map((row) => row.map(({ mark }) => mark)));
    const figures = table(rows.map((row) => row.map(({ text }) => text)));
    const text = `${figures}\n\n${legend(node)}`;
    console.log(text);
    if (args.write) await write(args.write, marks);
    if (args.save) await write(RESULTS, text);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) await main();
