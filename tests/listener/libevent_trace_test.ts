/**
 * Random sequences of enable, disable, set_cb, connect and free give the same
 * calls of callbacks here as in libevent itself: libevent_trace.c is the program
 * on the other side.
 *
 * One thing is left out of the sequences, because here it is other than in
 * libevent on purpose: taking the callback away from an enabled listener.
 * libevent 2.1 then accepts and closes what comes; here it waits.
 */
import { assertEquals } from "@std/assert";
import {
  type ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DISABLED,
  listen,
} from "@evconn/listener";
import { connect, turns } from "../helpers/clients.ts";
import { leaveOut, missing } from "../helpers/missing.ts";
import { LONG } from "../helpers/size.ts";

const SEEDS = LONG ? [1, 2, 3, 4] : [1, 2];
const SEQUENCES = 12;
const STEPS = 20;

/** Numbers from 0 to below 1 that are the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What to do, in the words of libevent_trace.c. */
function script(seed: number): string[] {
  const next = random(seed);
  const pick = <T>(items: readonly T[]): T =>
    items[Math.floor(next() * items.length)]!;
  const lines: string[] = [];
  for (let i = 0; i < SEQUENCES; i++) {
    const flags = pick([0, LEV_OPT_DISABLED]);
    lines.push(`new ${flags} ${pick(["A", "P", "S", "-"])}`);
    let enabled = flags === 0;
    for (let step = 0; step < STEPS; step++) {
      let line = pick([
        "connect 1",
        "connect 2",
        "connect 3",
        "enable",
        "enable",
        "disable",
        "set A",
        "set B",
        "set P",
        "set S",
        ...(enabled ? [] : ["set -"]),
      ]);
      if (step > STEPS / 2 && next() < 0.1) line = pick(["set F", "free"]);
      if (line === "enable") enabled = true;
      // P disables inside the callback: then it is not known from here.
      if (line === "disable") enabled = false;
      lines.push(line);
    }
  }
  return lines;
}

/** Compiles and runs the program in C. */
async function runLibevent(lines: string[]): Promise<string[]> {
  const program = `${await Deno.makeTempDir()}/libevent_trace`;
  const source = `${import.meta.dirname}/libevent_trace.c`;
  const compiled = await new Deno.Command("cc", {
    args: ["-Wall", "-o", program, source, "-levent_core"],
  }).output();
  assertEquals(new TextDecoder().decode(compiled.stderr), "");
  const child = new Deno.Command(program, { stdin: "piped", stdout: "piped" })
    .spawn();
  const output = child.output();
  const stdin = child.stdin.getWriter();
  await stdin.write(new TextEncoder().encode(lines.join("\n") + "\n"));
  await stdin.close();
  const { code, stdout } = await output;
  assertEquals(code, 0);
  return new TextDecoder().decode(stdout).split("\n").slice(0, -1).map((line) =>
    line.trim()
  );
}

/** The same listener and the same callbacks, here. */
class Ours {
  #listener = listen({ hostname: "127.0.0.1", port: 0 });
  #clients: Deno.TcpConn[] = [];
  #calls: { name: string; port: number }[] = [];

  readonly #callback = (
    conn: Deno.TcpConn,
    listener: ConnListener,
    name: string,
  ) => {
    this.#calls.push({ name, port: conn.remoteAddr.port });
    conn.close();
    if (name === "P") listener.pause();
    if (name === "S") listener.setCallback(this.#callback, "B");
    if (name === "F") listener.free();
  };

  /** Does what a line says, and gives the calls when there are as many as expected. */
  async step(line: string, expected: string): Promise<string> {
    const [verb, argument, name] = line.split(" ") as [string, string, string];
    this.#calls = [];
    if (verb === "new") await this.#make(Number(argument), name);
    else if (verb === "connect") await this.#connect(Number(argument));
    else if (verb === "set") this.#set(argument);
    else if (verb === "enable") this.#listener.resume();
    else if (verb === "disable") this.#listener.pause();
    else if (verb === "free") this.#listener.free();
    const enough = expected === "" ? 0 : expected.split(" ").length;
    const deadline = performance.now() + 10_000;
    while (this.#calls.length < enough && performance.now() < deadline) {
      await turns(1);
    }
    await turns(2); // and not more than that
    const ports = this.#clients.map((client) => client.localAddr.port);
    return this.#calls.map(({ name, port }) => `${name}${ports.indexOf(port)}`)
      .join(" ");
  }

  async end(): Promise<void> {
    this.#clients.forEach((client) => client.close());
    await this.#listener.close();
  }

  async #make(flags: number, name: string) {
    await this.end();
    this.#clients = [];
    const where = { hostname: "127.0.0.1", port: 0 };
    this.#listener = listen({ ...where, flags: flags | LEV_OPT_CLOSE_ON_FREE });
    this.#set(name);
  }

  #set(name: string) {
    if (name === "-") this.#listener.setCallback(null);
    else this.#listener.setCallback(this.#callback, name);
  }

  async #connect(count: number) {
    const freed = () => this.#listener.state === "closed";
    while (count-- > 0 && !freed()) {
      try {
        this.#clients.push(await connect(this.#listener));
      } catch (error) {
        // The client before this one was the last: its callback freed the listener.
        if (!freed()) throw error;
      }
    }
  }
}

/** Whether there is no libevent to compare with. */
function noLibevent(): boolean {
  if (missing("cc")) return true;
  const { success } = new Deno.Command("cc", {
    args: ["-E", "-include", "event2/listener.h", "-x", "c", "/dev/null"],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  return !success && leaveOut("not installed: libevent's headers");
}

const ignore = Deno.build.os === "windows" || noLibevent();

for (const seed of SEEDS) {
  Deno.test(`random sequences are traced as by libevent (seed ${seed})`, {
    ignore,
  }, async () => {
    const lines = script(seed);
    const theirs = await runLibevent(lines);
    const ours = new Ours();
    for (const [i, line] of lines.entries()) {
      const context = lines.slice(0, i + 1).join("; ");
      assertEquals(await ours.step(line, theirs[i]!), theirs[i]!, context);
    }
    await ours.end();
  });
}
