/** The command line of all examples: `--help`, `--verbose`, options and a port. */
import { parseArgs } from "@std/cli/parse-args";
import { fail } from "./messages.ts";

/**
 * The options that take a value, with their defaults. A number is a port. The option
 * `port` may be given without its name.
 */
type Defaults = Record<string, string | number | undefined>;

/** The options and words of the command line. */
type CommandLine<D extends Defaults> =
  & { [Name in keyof D]: D[Name] extends number ? number : D[Name] | string }
  & {
    /** Whether to print a line for each client. */
    verbose: boolean;
    /** The arguments that are not options. */
    words: string[];
  };

/**
 * Parses the command line. With `--help`, or if an argument is wrong, the program ends here.
 *
 * @param help What `--help` prints.
 * @param defaults The options of the program.
 * @returns The values, by the options' names.
 */
export function commandLine<D extends Defaults>(
  help: string,
  defaults: D,
): CommandLine<D> {
  const { _, ...given } = parseArgs(Deno.args, {
    string: [...Object.keys(defaults), "_"],
    boolean: ["help", "verbose"],
    unknown: (arg) => {
      if (/^-\d/.test(arg)) refuseNegative(arg, defaults);
      if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
    },
  });
  if (given.help) {
    console.log(help);
    Deno.exit();
  }
  const words = _.map(String);
  if ("port" in defaults && words.length > 0) {
    if (words.length > 1 || given.port !== undefined) fail("There is one port");
    given.port = words.pop();
  }
  const values = Object.entries(defaults).map(([name, value]) => {
    const text = given[name] ?? value;
    return [name, typeof value === "number" ? parsePort(`${text}`) : text];
  });
  const { verbose } = given;
  return { ...Object.fromEntries(values), verbose, words };
}

/** A negative number looks like an option, but is meant as a value. */
function refuseNegative(arg: string, defaults: Defaults): void {
  const before = Deno.args[Deno.args.indexOf(arg) - 1] ?? "";
  const isText = typeof defaults[before.replace("--", "")] === "string";
  if (isText) fail(`Invalid ${before}`);
  if ("port" in defaults) fail("Invalid port");
}

/** Parses a port. With 0 the system picks a free one. */
function parsePort(text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : NaN;
  return port <= 65535 ? port : fail("Invalid port");
}
