/** HAProxy and the servers behind it, as processes of their own. */

const path = (name: string) => `${import.meta.dirname}/${name}`;

/** A server behind HAProxy. Disposing of it kills it. */
export class Server implements Disposable {
  /** The ports of its clients, from its log. */
  readonly clients: number[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #inService = Promise.withResolvers<void>();
  readonly #logged: Promise<void>;
  readonly #verbose: boolean;

  /** @param verbose Whether to print its clients. */
  constructor(port: number, verbose = false) {
    this.#verbose = verbose;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-lock", "--allow-net"],
        ...[path("server.ts"), `${port}`],
      ],
      stdin: "null",
      stdout: "piped",
      detached: true, // Ctrl-C in the terminal must not end it
    }).spawn();
    this.inService.catch(() => {}); // there may be no other handler
    this.#logged = this.#follow();
  }

  /** Resolves when HAProxy sends clients to it. */
  get inService(): Promise<void> {
    return this.#inService.promise;
  }

  /** Sends SIGTERM, and resolves when the server has ended. */
  async end(): Promise<void> {
    this.#child.kill("SIGTERM");
    const [{ code }] = await Promise.all([this.#child.status, this.#logged]);
    if (code !== 0) throw new Error(`A server has ended with code ${code}`);
  }

  async #follow(): Promise<void> {
    let rest = "";
    const text = this.#child.stdout.pipeThrough(new TextDecoderStream());
    for await (const chunk of text) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#read(line);
    }
    this.#inService.reject(new Error("A server has ended"));
  }

  #read(line: string): void {
    if (line === "HAProxy sends clients") this.#inService.resolve();
    const client = /^client 127\.0\.0\.1:(\d+)$/.exec(line);
    if (!client) return;
    this.clients.push(Number(client[1]));
    if (this.#verbose) console.log(line);
  }

  [Symbol.dispose](): void {
    kill(this.#child, "SIGKILL");
  }
}

/** HAProxy with the configuration in this folder. Disposing of it ends it. */
export class Haproxy implements AsyncDisposable {
  /** Rejects when it ends. */
  readonly ended: Promise<never>;
  readonly #child: Deno.ChildProcess;

  /** @param ports The ports in the configuration. */
  constructor(
    ports: { PORT: number; SERVER_A_PORT: number; SERVER_B_PORT: number },
  ) {
    const env = Object.entries(ports).map(([name, port]) => [name, `${port}`]);
    this.#child = new Deno.Command("haproxy", {
      args: ["-db", "-f", path("haproxy.cfg")],
      env: Object.fromEntries(env),
      stdin: "null",
      stderr: "piped",
      detached: true,
    }).spawn();
    this.ended = this.#child.stderr.text().then((text) => {
      throw new Error(`HAProxy has ended:\n${text}`);
    });
    this.ended.catch(() => {}); // there may be no other handler
  }

  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.#child, "SIGTERM");
    await this.#child.status;
  }
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    // It has ended already.
    if (!(error instanceof TypeError)) throw error;
  }
}
