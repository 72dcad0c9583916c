/**
 * What the tests of faults share: programs that run beside a test, so that they
 * can be killed, starved of descriptors, or attack from outside its event loop,
 * and a look at what such a program holds and burns.
 *
 * Run by itself, this file is one of those programs:
 *
 * ```sh
 * deno run -A tests/helpers/faults.ts reset 9876 20000  # clients that reset, 64 at a time
 * deno run -A tests/helpers/faults.ts hold 9876 10      # clients that say half of something
 * deno run -A tests/helpers/faults.ts serve [hook]      # an echo server on a free port
 * deno run -A tests/helpers/faults.ts serve-unix a.sock # an echo server on a Unix socket
 * ```
 *
 * @module
 */
import { listen, type ListenerOptions } from "@evconn/listener";
import { connectAndReset } from "./clients.ts";

/** This file, as the program that it is. */
export const FAULTS: string = import.meta.url;

/** Flags with which another Deno program finds the modules that this one uses. */
export function moduleFlags(): string[] {
  const standIns = import.meta.resolve("@std/assert").startsWith("file:");
  const map = import.meta.resolve("../../offline/import_map.json");
  return ["--no-lock", ...(standIns ? [`--import-map=${map}`] : [])];
}

/** A program that runs beside this one, and is killed when it goes out of scope. */
export class Program implements AsyncDisposable {
  readonly pid: number;
  /** How it ended. Everything that it wrote to stderr is there by then. */
  readonly status: Promise<Deno.CommandStatus>;
  /** What it has written to stderr up to now. */
  stderr = "";
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: string[]) {
    this.#child = new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.pid = this.#child.pid;
    this.#lines = lines(this.#child.stdout);
    this.status = Promise.all([this.#child.status, this.#collect()])
      .then(([status]) => status);
  }

  /** A Deno program with the modules of this one, with at most so many descriptors. */
  static deno(args: string[], maxDescriptors?: number): Program {
    const all = ["run", "-A", "--quiet", ...moduleFlags(), ...args];
    if (maxDescriptors === undefined) return new Program(Deno.execPath(), all);
    return Program.limited(maxDescriptors, Deno.execPath(), all);
  }

  /** A program with at most so many descriptors. */
  static limited(max: number, command: string, args: string[]): Program {
    const script = `ulimit -n ${max}; exec "$0" "$@"`;
    return new Program("sh", ["-c", script, command, ...args]);
  }

  async #collect(): Promise<void> {
    const text = this.#child.stderr.pipeThrough(new TextDecoderStream());
    for await (const chunk of text) this.stderr += chunk;
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`The program has ended: ${this.stderr}`);
    return value;
  }

  /** The next line that begins so, without its beginning. */
  async lineAfter(start: string): Promise<string> {
    for (;;) {
      const line = await this.line();
      if (line.startsWith(start)) return line.slice(start.length);
    }
  }

  kill(signal: Deno.Signal = "SIGKILL"): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.status;
    while (!(await this.#lines.next()).done);
  }
}

async function* lines(
  bytes: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of bytes.pipeThrough(new TextDecoderStream())) {
    const complete = (rest + chunk).split("\n");
    rest = complete.pop() ?? "";
    yield* complete;
  }
}

/** The descriptors that a process has open. Linux only. */
export function descriptors(pid: number = Deno.pid): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

/** The CPU time that a process has used, in seconds. Linux only. */
export function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The second field is the program's name, which may contain anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user = 0, system = 0] = fields.slice(11, 13).map(Number);
  return (user + system) / 100; // USER_HZ is 100 wherever Deno runs
}

/**
 * How often a listen queue of this machine was full, up to now. Linux only. The
 * kernel forgets clients that reset while it waits for room.
 */
export function queueOverflows(): number {
  const [names = [], values = []] = Deno.readTextFileSync("/proc/net/netstat")
    .split("\n").filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("ListenOverflows")] ?? 0);
}

/** Sends back what comes in until the client has sent everything. */
export async function echo(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    await writeAll(conn, buffer.subarray(0, length));
  }
}

/** Writes everything: a write may take less than it is given. */
export async function writeAll(
  conn: Deno.Conn,
  bytes: Uint8Array,
): Promise<void> {
  while (bytes.length > 0) bytes = bytes.subarray(await conn.write(bytes));
}

/** What comes back for a text: shorter than the text if the connection ends. */
export async function roundTrip(
  conn: Deno.Conn,
  text: string,
): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  await writeAll(conn, bytes);
  const answer = new Uint8Array(bytes.length);
  let length = 0;
  while (length < answer.length) {
    const more = await conn.read(answer.subarray(length));
    if (more === null) break;
    length += more;
  }
  return new TextDecoder().decode(answer.subarray(0, length));
}

/** Everything that comes back for this, sent with a FIN after it. */
export async function exchange(
  conn: Deno.Conn,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const answer = new Response(conn.readable).bytes();
  await writeAll(conn, bytes);
  await conn.closeWrite();
  return await answer;
}

/** Asks an echo server something over a connection of its own. */
export async function ask(
  to: { port: number } | Deno.UnixConnectOptions,
  text: string,
): Promise<string> {
  using conn: Deno.Conn = "port" in to
    ? await Deno.connect({ hostname: "127.0.0.1", port: to.port })
    : await Deno.connect(to);
  return await roundTrip(conn, text);
}

const at = (port: number) => ({
  addr: { transport: "tcp", hostname: "127.0.0.1", port } as const,
});

async function holdClients(port: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await roundTrip(conn, "half of some");
  }
  console.log("holding");
  setInterval(() => {}, 60_000); // until somebody kills this
}

function serve(hook: boolean): void {
  const options: ListenerOptions = {
    onAcceptError: (error, { stats }) => {
      const { code } = error as { code?: string };
      console.log(`error ${code} after ${stats.accepted}`);
    },
  };
  const bind = { hostname: "127.0.0.1", port: 0 };
  const listener = listen({ ...bind, ...(hook ? options : {}) }, echo);
  Deno.addSignalListener("SIGTERM", () => listener.shutdown());
  console.log(`port ${listener.addr.port}`);
}

function serveUnix(path: string): void {
  const listener = listen({ transport: "unix", path }, echo);
  console.log(`path ${listener.addr.path}`);
}

if (import.meta.main) {
  const [role, ...args] = Deno.args;
  const [port = 0, count = 1] = args.map(Number);
  if (role === "reset") await connectAndReset(at(port), count);
  else if (role === "hold") await holdClients(port, count);
  else if (role === "serve") serve(args[0] === "hook");
  else if (role === "serve-unix") serveUnix(args[0] ?? "");
  else throw new Error(`There is no such program: ${role}`);
}
