/** Calling functions of the program, and printing what they throw. */
import { textOf } from "./failures.ts";

/** Calls a hook. What it throws, at once or later, must not end the process. */
export function callHook(hook: () => unknown): void {
  Promise.try(hook).catch((error) => {
    print(console.error, "Error in a hook of a listener:", error);
  });
}

/** Prints an error, also one that cannot be shown. */
export function print(
  log: (...args: unknown[]) => void,
  what: string,
  error: unknown,
): void {
  try {
    log(what, error);
  } catch {
    log(what, textOf(error));
  }
}

/** Whether a callback has returned a promise. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then ===
    "function";
}
