/**
 * A stand-in for what is used here of `@std/cli/parse-args`, over minimist, which
 * is what that module was written after.
 */
import minimist from "npm:minimist@^1.2.8";

/** The options that are used here. */
export interface ParseOptions {
  string?: readonly string[];
  boolean?: readonly string[];
  alias?: Record<string, string>;
  default?: Record<string, unknown>;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

// deno-lint-ignore no-explicit-any
type Args = Record<string, any> & { _: (string | number)[] };

/** Parses command-line arguments. */
export function parseArgs(args: string[], options: ParseOptions = {}): Args {
  return minimist(args, options);
}
