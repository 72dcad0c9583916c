/** Programs in which accept(2) itself fails. Linux only, and there must be a `cc`. */
import { assertEquals } from "@std/assert";
import { Program } from "./faults.ts";
import { missing } from "./missing.ts";
import { TempDir } from "./temp_dir.ts";

const SOURCE = new URL("accept_faults.c", import.meta.url);

/** Whether accept(2) cannot be made to fail here, for a test's `ignore`. */
export function noAcceptFaults(): boolean {
  return Deno.build.os !== "linux" || missing("cc");
}

/**
 * A library that is loaded before that of C and makes accept(2) fail.
 *
 * ```ts
 * await using faults = await AcceptFaults.compile();
 * await using server = faults.start("EPROTO", 3, ["run", "-A", "server.ts"]);
 * ```
 */
export class AcceptFaults implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly #library = `${this.#dir.path}/accept_faults.so`;

  private constructor() {}

  static async compile(): Promise<AcceptFaults> {
    const faults = new AcceptFaults();
    const { stderr } = await new Deno.Command("cc", {
      args: ["-Wall", "-shared", "-fPIC", "-o", faults.#library]
        .concat([await Deno.realPath(SOURCE), "-ldl"]),
    }).output();
    assertEquals(new TextDecoder().decode(stderr), "");
    return faults;
  }

  /**
   * Starts a Deno program. The first so many calls of accept(2) on each of its
   * listening sockets fail with this error.
   *
   * @param error Its name. The C file has a list of those that can be had.
   * @param args The arguments of `deno`.
   */
  start(error: string, failures: number, args: string[]): Program {
    return new Program("env", [
      `LD_PRELOAD=${this.#library}`,
      `ACCEPT_ERRNO=${error}`,
      `ACCEPT_FAILURES=${failures}`,
      Deno.execPath(),
      ...args,
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]();
  }
}
