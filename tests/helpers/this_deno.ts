/**
 * What the Deno that runs the tests can do: `deno task compat` runs them on older
 * ones. Each of these is a means of the tests, or something that Deno itself does
 * with a socket and the library cannot change.
 */
import { Socket } from "node:net";

/** Whether this is that version of Deno, or a later one. */
function since(version: string): boolean {
  const parts = (text: string) => text.split(".").map((part) => parseInt(part));
  const [ours, theirs] = [parts(Deno.version.deno), parts(version)];
  const at = theirs.findIndex((part, i) => part !== ours[i]);
  return at === -1 || ours[at]! > theirs[at]!;
}

/** A client of `node:net` can come from an address that it chooses. */
export const NODE_CLIENTS_CHOOSE: boolean = since("2.7.9");

/** A client of `node:net` can reset its connection. */
export const NODE_CLIENTS_RESET: boolean = "resetAndDestroy" in
  Socket.prototype;

/** Deno removes the file of a Unix socket that it closes. */
export const REMOVES_UNIX_FILES: boolean = Deno.build.os !== "windows" &&
  since("2.6.7");

/** `Deno.listen` takes `port: undefined` as not given. */
export const TAKES_NO_PORT: boolean = since("2.8.1");

/** A connection's `writable` refuses what is no bytes. */
export const WRITABLE_CHECKS: boolean = since("2.8.1");

/** A write that waits for its client ends when its connection is closed. */
export const CLOSE_ENDS_WRITES: boolean = since("2.9.5");

/** A thread notices that another has ended: Deno has Web Locks. */
export const HAS_LOCKS: boolean = "locks" in navigator;

/** Deno waits for signals by itself, which takes descriptors half a second after its start. */
export const WAITS_FOR_SIGNALS: boolean = Deno.build.os !== "windows" &&
  since("2.9.2");

/**
 * The event loop goes on while a timer is pending, whatever was ref'd and unref'd before.
 * In Deno 2.7 and 2.8 it ends when connections were, a few hundred times under load.
 */
export const COUNTS_REFS: boolean = since("2.9.0") || !since("2.7.0");
