/** Examples and clients, run as the processes that a user would start. */

/** What a process that has ended leaves. */
export interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

/** A running program. Disposing of it ends it with SIGKILL, if it still runs. */
export class Process implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #stdout: Lines;
  readonly #stderr: Promise<string>;
  readonly #errors: Lines;

  /**
   * Starts a program.
   *
   * @param descriptors How many descriptors it may have open, if not as many as
   * the tests themselves.
   * @param cwd Where it runs: in the repository's root, if not given.
   */
  constructor(
    program: string,
    args: string[],
    env: Record<string, string> = {},
    descriptors?: number,
    cwd: string | URL = new URL("../..", import.meta.url),
  ) {
    const command = [program, ...args];
    if (descriptors !== undefined) {
      command.unshift("sh", "-c", `ulimit -n ${descriptors}; exec "$0" "$@"`);
    }
    this.#child = new Deno.Command(command[0]!, {
      args: command.slice(1),
      cwd,
      env: { NO_COLOR: "1", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#stdout = new Lines(this.#child.stdout);
    const [all, lines] = this.#child.stderr.tee();
    this.#stderr = new Response(all).text();
    this.#errors = new Lines(lines);
  }

  /** The process's id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Types something. */
  async write(text: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(text));
  }

  /** Ends the program's input. */
  async closeInput(): Promise<void> {
    await this.#input.close().catch(() => {}); // it may have ended
  }

  /** Waits for the next line on stdout, or the next one that matches. */
  line(pattern: RegExp = /^/): Promise<string> {
    return this.#line(this.#stdout, pattern);
  }

  /** Waits for the next line on stderr that matches. */
  errorLine(pattern: RegExp): Promise<string> {
    return this.#line(this.#errors, pattern);
  }

  async #line(lines: Lines, pattern: RegExp): Promise<string> {
    for (let line; (line = await lines.next()) !== undefined;) {
      if (pattern.test(line)) return line;
    }
    throw new Error(`Ended without a line ${pattern}: ${await this.#stderr}`);
  }

  /** Waits until the program says where it listens: "… 127.0.0.1:PORT". */
  async port(): Promise<number> {
    return Number(/:(\d+)/.exec(await this.line(/:\d+/))![1]);
  }

  /** Sends a signal. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Ends the program's input and waits for its end. */
  async output(): Promise<Output> {
    await this.closeInput();
    const stdout = await this.#stdout.rest();
    const { code } = await this.#child.status;
    return { code, stdout, stderr: await this.#stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.output();
  }
}

/**
 * Starts `examples/<name>.ts`.
 *
 * @param name The example's name.
 * @param args Its arguments.
 * @param flags Deno's, for what the example may do.
 * @param env Added to its environment.
 * @param descriptors How many descriptors it may have open, if not as many as
 * the tests themselves.
 */
export function startExample(
  name: string,
  args: string[],
  flags: string[] = ["--allow-net"],
  env: Record<string, string> = {},
  descriptors?: number,
): Process {
  // Like the tests, it may have to do with the stand-ins for @std.
  const offline = import.meta.resolve("@std/assert").startsWith("file:");
  const map = offline ? ["--import-map=offline/import_map.json"] : [];
  const run = ["run", "--quiet", "--no-prompt", ...map, ...flags];
  const script = `examples/${name}.ts`;
  return new Process(
    Deno.execPath(),
    [...run, script, ...args],
    env,
    descriptors,
  );
}

/** Runs a program to its end, with this on its stdin. */
export async function run(
  program: string,
  args: string[],
  input = "",
): Promise<Output> {
  await using process = new Process(program, args);
  // A program that does not read all of it has its reasons.
  await process.write(input).catch(() => {});
  return await process.output();
}

/** The lines of a stream, one at a time. */
class Lines {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";
  #taken = "";

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  }

  async next(): Promise<string | undefined> {
    while (!this.#text.includes("\n")) {
      if (!await this.#more()) return undefined;
    }
    const end = this.#text.indexOf("\n");
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    this.#taken += `${line}\n`;
    return line;
  }

  /** All that there was, once the stream has ended. */
  async rest(): Promise<string> {
    while (await this.#more());
    return this.#taken + this.#text;
  }

  async #more(): Promise<boolean> {
    const { value = "", done } = await this.#reader.read();
    this.#text += value;
    return !done;
  }
}
