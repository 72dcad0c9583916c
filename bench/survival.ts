/**
 * Which servers survive which faults: every fault against the same echo server
 * made in five ways, each of them a fresh process, each cell measured.
 *
 * ```sh
 * deno task survival         # prints the table
 * deno task survival --save  # also writes it to docs/survival.md
 * ```
 *
 * Linux only: what a server burns and holds is read from /proc.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import {
  cpuSeconds,
  descriptors,
  moduleFlags,
  Program,
  roundTrip,
  writeAll,
} from "../tests/helpers/faults.ts";
import {
  connect,
  type Fault,
  FAULTS_TO_RUN,
  NO_OTHER,
  pause,
  PROXY_HEADER,
} from "./survival_faults.ts";
import { table, write } from "./survival_table.ts";

/** Measured on two cores; most of it is waiting, which is part of the faults. */
const ESTIMATE = "Takes about five minutes.";

const HELP = `Usage: survival.ts [options]

Runs each fault against each kind of server and prints what became of it.
${ESTIMATE}

Options:
  --only TEXT  Only the faults that have this in their title; nothing is saved then
  --save       Write the table, and its figures, to docs/survival.md
  --help       Show this and exit`;

const SERVER = `${import.meta.dirname}/survival_server.mjs`;
const DOCUMENT = `${import.meta.dirname}/../docs/survival.md`;

interface Kind {
  title: string;
  command: string;
  args: string[];
  /** Whether it is this package's: it takes the PROXY protocol, and has `serveTls()`. */
  isOurs?: boolean;
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
  { title: "`listen()`", ...deno("listener"), isOurs: true },
];

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

/** Whether clients are served afterwards. It may see late that those before have left. */
async function isServedAgain(serves: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + 1000;
  do {
    if (await serves()) return true;
    await pause(20);
  } while (performance.now() < end);
  return false;
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
  // Until whatever a runtime opens late is open.
  if (!fault.early) await pause(1000);
  const open = descriptors(server.pid);
  const cpu = cpuSeconds(server.pid);

  let ended: Deno.CommandStatus | undefined;
  server.status.then((status) => ended = status);
  const note = await fault.run(port, { pid: server.pid, serves })
    .catch(() => {}); // a dead server refuses clients
  const served = await isServedAgain(serves);
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
  const line = stderr.split("\n")
    .find((line) => /^error: |Error: |panicked/.test(line));
  return (line ?? "without a word")
    .replace(/^Deno has panicked.*/, "Deno has panicked")
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
    const { stdout, stderr } = await new Deno.Command(command, { args: [arg] })
      .output();
    const text = new TextDecoder().decode(stdout.length ? stdout : stderr);
    return text.split("\n", 1)[0];
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
  if (fault.mode === "proxy" && !kind.isOurs) return "has no PROXY protocol";
  if (fault.mode === "serve-tls" && !kind.isOurs) return "has no serveTls()";
}

/** The rows of the table, the heading first. Says on stderr how far it is. */
async function measureAll(
  faults: Fault[],
  certificate: Certificate,
  found: Record<string, unknown>,
): Promise<Cell[][]> {
  const heading = ["Fault", ...KINDS.map((kind) => kind.title)];
  const rows = [heading.map((text) => ({ mark: text, text }))];
  for (const fault of faults) {
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
    string: ["only"],
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
    const nginx = await version("nginx", "-v");
    const certificate = openssl
      ? await makeCertificate(dir)
      : { cert: "", files: ["", ""] as [string, string] };
    const faults = FAULTS_TO_RUN.filter(({ title }) =>
      title.includes(args.only ?? "")
    );
    const found = { node, openssl, nmap, nginx };
    const rows = await measureAll(faults, certificate, found);
    const marks = table(rows.map((row) => row.map(({ mark }) => mark)));
    const figures = table(rows.map((row) => row.map(({ text }) => text)));
    const text = `${figures}\n\n${legend(node)}`;
    console.log(text);
    if (args.only !== undefined || !args.save) return;
    await write(DOCUMENT, "survival", marks);
    await write(DOCUMENT, "figures", text);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) await main();
