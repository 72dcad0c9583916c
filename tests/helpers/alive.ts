import { assertEquals } from "@std/assert";
import { type Outcome, runProgram } from "./program.ts";

/**
 * What a program of its own comes to, in which `alive` is printed if the event loop still
 * turns when the program has come to its end: after so many turns that everything which
 * was about to end has done so, however slow the machine is.
 */
export function runToEnd(
  program: string,
  ...flags: string[]
): Promise<Outcome> {
  return runProgram(
    `
    const where = { hostname: "127.0.0.1", port: 0 };
    const next = () => new Promise((resolve) => setTimeout(resolve, 1));
    const turns = async (count = 10) => { while (count-- > 0) await next(); };
    const until = async (condition) => { while (!condition()) await next(); };
    ${program}
    let left = 40;
    const look = () => {
      if (left-- > 0) Deno.unrefTimer(setTimeout(look, 2));
      else {
        console.log("alive");
        Deno.exit();
      }
    };
    look();`,
    ...flags,
  );
}

/** A test of whether a program goes on when it has come to its end. */
export function testAlive(
  name: string,
  isAlive: boolean,
  program: string,
): void {
  const does = isAlive ? "keeps the process alive" : "lets the process end";
  Deno.test(`${name} ${does}`, async () => {
    const { code, stdout, stderr } = await runToEnd(program);
    assertEquals([code, stdout, stderr], [0, isAlive ? "alive" : "", ""]);
  });
}
