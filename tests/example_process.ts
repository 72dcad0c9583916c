/** An example, run as the process that a user would start. */

const ROOT = new URL("..", import.meta.url);

/** What a process that has ended leaves. */
export interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

/** A running example. Disposing of it ends it with SIGKILL, if it still runs. */
export class ExampleProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdout: Lines;
  readonly #stderr: Promise<string>;

  /**
   * Starts `examples/<name>.ts`.
   *
   * @param name The example's name.
   * @param args Its arguments.
   * @param flags Deno's, such as `--allow-net`.
   * @param env Added to its environment.
   * @param descriptors How many descriptors it may have open, if not as many as
   * the tests themselves.
   */
  constructor(
    name: string,
    args: string[],
    flags: string[] = ["--allow-net"],
    env: Record<string, string> = {},
    descriptors?: number,
  ) {
    // The tests themselves may run on the stand-ins for @std.
    const offline = import.meta.resolve("@std/assert").startsWith("file:");
    const command = [
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-prompt",
      ...(offline ? ["--import-map=offline/import_map.json"] : []),
      ...flags,
      `examples/${name}.ts`,
      ...args,
    ];
    if (descriptors) {
      command.unshift("sh", "-c", `ulimit -n ${descriptors}; exec "$0" "$@"`);
    }
    this.#child = new Deno.Command(command[0]!, {
      args: command.slice(1),
      cwd: ROOT,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdout = new Lines(this.#child.stdout);
    this.#stderr = new Response(this.#child.stderr).text();
  }

  /** The process's id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for a line on stdout that matches, the next one by default. */
  async line(pattern: RegExp = /(?:)/): Promise<string> {
    for (let line; (line = await this.#stdout.next()) !== undefined;) {
      if (pattern.test(line)) return line;
    }
    throw new Error(
      `The example ended without a line ${pattern}: ${await this.#stderr}`,
    );
  }

  /** Waits until the example says where it listens: "… 127.0.0.1:PORT". */
  async port(): Promise<number> {
    return Number(/:(\d+)\b/.exec(await this.line(/:\d+/))![1]);
  }

  /** Sends a signal, unless the process has ended. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for the end. */
  async output(): Promise<Output> {
    const { code } = await this.#child.status;
    const stdout = await this.#stdout.rest();
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
