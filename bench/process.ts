/** A child process on a core of its own, and what the kernel says about it. */
import { getAvailablePort } from "@std/net/get-available-port";

/** The two sides of a measurement, which share no core. */
export type Side = "server" | "load";

/** The ticks per second in which /proc counts CPU time: USER_HZ, on every Linux. */
const TICKS = 100;
/** How long a server may take to listen, in ms. */
const PATIENCE = 20_000;

const cores = navigator.hardwareConcurrency;
/** Whether the two sides run on different cores. */
export const pinned = cores > 1 && await installed("taskset");

/** How many descriptors a process may have. Deno raises its limit to this by itself. */
export const descriptors = Deno.build.os === "windows"
  ? Infinity
  : Number(await run(["sh", "-c", "ulimit -Hn"])) || Infinity; // "unlimited"

/** Whether a program is installed. */
export async function installed(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The command, on the side's core. */
export function pin(side: Side, command: readonly string[]): readonly string[] {
  if (!pinned) return command;
  const core = side === "server" ? cores - 1 : 0;
  return ["taskset", "-c", String(core), ...command];
}

/** Runs a command, and returns what it printed. */
export async function run(command: readonly string[]): Promise<string> {
  const [program, ...args] = command as [string, ...string[]];
  const { success, stdout, stderr } = await new Deno.Command(program, { args })
    .output();
  const text = new TextDecoder();
  if (success) return text.decode(stdout);
  const why = text.decode(stderr).trim();
  throw new Error(
    `${program} failed: ${/^.*error.*$/im.exec(why)?.[0] ?? why}`,
  );
}

/** A process that listens. */
export type Server = Process & { readonly port: number };

/** A process that reads a byte on stdin, and answers with a line on stdout. */
export class Process implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;

  constructor(side: Side, command: readonly string[]) {
    const [program, ...args] = pin(side, command) as [string, ...string[]];
    this.#child = new Deno.Command(program, {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
  }

  /** Starts a server: the command with a free port as its last argument. */
  static async serve(command: readonly string[]): Promise<Server> {
    const port = getAvailablePort();
    const process = new Process("server", [...command, String(port)]);
    const server = Object.assign(process, { port });
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        return server;
      } catch (error) {
        if (Date.now() > deadline) {
          await server[Symbol.asyncDispose]();
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** The process's CPU time so far, in µs; NaN where there is no /proc. */
  cpu(): number {
    // The name, in parentheses, may contain spaces; utime and stime come later.
    const fields = this.#proc("stat").split(") ").at(-1)!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS * 1e6;
  }

  /** Its memory in bytes; NaN where there is no /proc. */
  memory(): number {
    return Number(/^Rss: +(\d+) kB$/m.exec(this.#proc("smaps_rollup"))?.[1]) *
      1024;
  }

  #proc(file: string): string {
    if (Deno.build.os !== "linux") return "";
    return Deno.readTextFileSync(`/proc/${this.#child.pid}/${file}`);
  }

  /** Sends the byte. */
  async tell(): Promise<void> {
    await this.#stdin.write(new Uint8Array([10]));
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    let text = "";
    const decoder = new TextDecoder();
    for await (
      const chunk of this.#child.stdout.values({ preventCancel: true })
    ) {
      text += decoder.decode(chunk, { stream: true });
      if (text.includes("\n")) return text.trim();
    }
    throw new Error(`The process ended without an answer: ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
    await this.#stdin.abort().catch(() => {});
    await this.#child.stdout.cancel();
    await this.#child.status;
  }
}
