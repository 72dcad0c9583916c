/**
 * libevent's listener flags (`LEV_OPT_*` of `event2/listener.h`), and what each of them
 * does on Deno.
 *
 * Combine them with `|`, and pass them to `listen()` as `flags`. If Deno cannot do what a
 * flag asks for, `listen()` throws, and {@linkcode explainFlags} says why.
 *
 * ```ts
 * import {
 *   explainFlags,
 *   LEV_OPT_CLOSE_ON_FREE,
 *   LEV_OPT_DISABLED,
 * } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const reports = explainFlags(LEV_OPT_CLOSE_ON_FREE | LEV_OPT_DISABLED);
 * assertEquals(reports.map((report) => report.support), ["listener", "listener"]);
 * ```
 *
 * @module
 */

/**
 * Leaves accepted sockets in blocking mode. Has no effect, because Deno's sockets never
 * block.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, LEV_OPT_LEAVE_SOCKETS_BLOCKING } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const [report] = explainFlags(LEV_OPT_LEAVE_SOCKETS_BLOCKING);
 * assertEquals(report?.support, "no-effect");
 * ```
 */
export const LEV_OPT_LEAVE_SOCKETS_BLOCKING: number = 1 << 0;

/**
 * Makes `free()` close the listening socket. Without this flag, `free()` leaves the socket
 * open, as `detach()` does.
 *
 * @example Usage
 * ```ts
 * import { LEV_OPT_CLOSE_ON_FREE, listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const listener = listen({ port: 0, flags: LEV_OPT_CLOSE_ON_FREE });
 * listener.free();
 * await listener.finished;
 * assertEquals(listener.state, "closed");
 * ```
 */
export const LEV_OPT_CLOSE_ON_FREE: number = 1 << 1;

/**
 * Keeps programs that are started with `exec` from inheriting the sockets. Deno always
 * does so.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, LEV_OPT_CLOSE_ON_EXEC } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const [report] = explainFlags(LEV_OPT_CLOSE_ON_EXEC);
 * assertEquals(report?.support, "always");
 * ```
 */
export const LEV_OPT_CLOSE_ON_EXEC: number = 1 << 2;

/**
 * Allows to listen on a port right after it was closed (`SO_REUSEADDR`). Deno always does
 * so for TCP, except on Windows. With a Unix socket, `listen()` throws, as libevent fails.
 *
 * @example Usage
 * ```ts
 * import { LEV_OPT_REUSEABLE, listen } from "@evconn/listener";
 * import { assertThrows } from "@std/assert";
 *
 * listen({ port: 0, flags: LEV_OPT_REUSEABLE }).close();
 * assertThrows(
 *   () => listen({ transport: "unix", path: "a.sock", flags: LEV_OPT_REUSEABLE }),
 *   TypeError,
 * );
 * ```
 */
export const LEV_OPT_REUSEABLE: number = 1 << 3;

/**
 * Makes a listener safe to use from several threads. Has no effect, because a listener
 * belongs to one thread.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, LEV_OPT_THREADSAFE } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const [report] = explainFlags(LEV_OPT_THREADSAFE);
 * assertEquals(report?.support, "always");
 * ```
 */
export const LEV_OPT_THREADSAFE: number = 1 << 4;

/**
 * Makes a listener that starts paused. `resume()` lets it accept.
 *
 * @example Usage
 * ```ts
 * import { LEV_OPT_DISABLED, listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen({ port: 0, flags: LEV_OPT_DISABLED });
 * assertEquals(listener.state, "paused");
 * listener.resume();
 * assertEquals(listener.state, "listening");
 * ```
 */
export const LEV_OPT_DISABLED: number = 1 << 5;

/**
 * Delivers a connection only when its first byte has arrived, for protocols in which the
 * client speaks first. Reading from the connection then returns that byte first, without
 * a wait.
 *
 * A client that sends nothing for `handshakeTimeout` (30 s by default) is disconnected.
 * Like a client that leaves before its first byte, it is counted in `stats.aborted`. Until
 * then it counts toward `maxConnections`, but does not delay other clients. Not available
 * for Unix sockets, nor for a socket that is given to the constructor.
 *
 * @example Usage
 * ```ts
 * import { LEV_OPT_DEFERRED_ACCEPT, listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   flags: LEV_OPT_DEFERRED_ACCEPT,
 * }, async (conn) => {
 *   const buffer = new Uint8Array(16);
 *   const length = await conn.read(buffer); // does not wait
 *   await conn.write(buffer.subarray(0, length ?? 0));
 * });
 *
 * using _silent = await Deno.connect({ port: listener.addr.port });
 * using client = await Deno.connect({ port: listener.addr.port });
 * await client.write(new TextEncoder().encode("hello"));
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 */
export const LEV_OPT_DEFERRED_ACCEPT: number = 1 << 6;

/**
 * Lets several sockets listen on the same port (`SO_REUSEPORT`, the option `reusePort` of
 * `Deno.listen`). Linux distributes the connections among them. Needs `--unstable-net`;
 * without it, `listen()` throws. With a Unix socket, `listen()` throws, as libevent fails.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, LEV_OPT_REUSEABLE_PORT } from "@evconn/listener";
 * import { assertStringIncludes } from "@std/assert";
 *
 * const [report] = explainFlags(LEV_OPT_REUSEABLE_PORT);
 * assertStringIncludes(report?.detail ?? "", "--unstable-net");
 * ```
 */
export const LEV_OPT_REUSEABLE_PORT: number = 1 << 7;

/**
 * Accepts IPv6 connections only (`IPV6_V6ONLY` on). With one IPv6 address as `hostname`
 * that is always so. With `::`, `listen()` throws, because Deno cannot do it.
 *
 * @example Usage
 * ```ts
 * import { LEV_OPT_BIND_IPV6ONLY, listen } from "@evconn/listener";
 * import { assertThrows } from "@std/assert";
 *
 * assertThrows(
 *   () => listen({ hostname: "::", port: 0, flags: LEV_OPT_BIND_IPV6ONLY }),
 *   Deno.errors.NotSupported,
 * );
 * ```
 */
export const LEV_OPT_BIND_IPV6ONLY: number = 1 << 8;

/**
 * Accepts IPv4 and IPv6 connections on one socket (`IPV6_V6ONLY` off). The default of
 * `hostname` is then `::`. Not available on Windows.
 *
 * @example Usage
 * ```ts
 * import { LEV_OPT_BIND_IPV4_AND_IPV6, listen } from "@evconn/listener";
 * import { assertThrows } from "@std/assert";
 *
 * assertThrows(
 *   () => listen({ hostname: "127.0.0.1", port: 0, flags: LEV_OPT_BIND_IPV4_AND_IPV6 }),
 *   TypeError,
 * );
 * ```
 */
export const LEV_OPT_BIND_IPV4_AND_IPV6: number = 1 << 9;

/**
 * How a flag is supported:
 *
 * - `"listen-option"`: by an option of `Deno.listen`;
 * - `"listener"`: by the listener itself;
 * - `"always"`: Deno does it with or without the flag;
 * - `"no-effect"`: the flag is allowed, and changes nothing;
 * - `"unsupported"`: `listen()` throws.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, type FlagSupport, LEV_OPT_DISABLED } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const support: FlagSupport | undefined = explainFlags(LEV_OPT_DISABLED)[0]?.support;
 * assertEquals(support, "listener");
 * ```
 */
export type FlagSupport =
  | "listen-option"
  | "listener"
  | "always"
  | "no-effect"
  | "unsupported";

/**
 * What one flag does on Deno, as {@linkcode explainFlags} reports it.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, type FlagReport, LEV_OPT_DISABLED } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const reports: FlagReport[] = explainFlags(LEV_OPT_DISABLED);
 * assertEquals(reports[0]?.name, "LEV_OPT_DISABLED");
 * ```
 */
export interface FlagReport {
  /** The flag's name in `event2/listener.h`. */
  name: string;
  /** The flag's bit, as in `event2/listener.h`. */
  bit: number;
  /** How the flag is supported. */
  support: FlagSupport;
  /** What the flag does on Deno, and why. */
  detail: string;
}

const WINDOWS = Deno.build.os === "windows";
const LINUX = Deno.build.os === "linux" || Deno.build.os === "android";

const REPORTS: readonly FlagReport[] = [
  {
    name: "LEV_OPT_LEAVE_SOCKETS_BLOCKING",
    bit: LEV_OPT_LEAVE_SOCKETS_BLOCKING,
    support: "no-effect",
    detail: "Deno's sockets are always non-blocking and its API always awaits.",
  },
  {
    name: "LEV_OPT_CLOSE_ON_FREE",
    bit: LEV_OPT_CLOSE_ON_FREE,
    support: "listener",
    detail: "free() closes the socket; without the flag free() detaches it.",
  },
  {
    name: "LEV_OPT_CLOSE_ON_EXEC",
    bit: LEV_OPT_CLOSE_ON_EXEC,
    support: "always",
    detail: "Deno opens every socket close-on-exec.",
  },
  {
    name: "LEV_OPT_REUSEABLE",
    bit: LEV_OPT_REUSEABLE,
    support: WINDOWS ? "no-effect" : "always",
    detail: WINDOWS
      ? "Deno leaves SO_REUSEADDR off on Windows, where it would let another process take the port over."
      : "Deno sets SO_REUSEADDR on every TCP listener. An error with a Unix socket, as in libevent.",
  },
  {
    name: "LEV_OPT_THREADSAFE",
    bit: LEV_OPT_THREADSAFE,
    support: "always",
    detail: "A listener lives in one isolate; no other thread can touch it.",
  },
  {
    name: "LEV_OPT_DISABLED",
    bit: LEV_OPT_DISABLED,
    support: "listener",
    detail: "The listener starts paused; resume() starts it.",
  },
  {
    name: "LEV_OPT_DEFERRED_ACCEPT",
    bit: LEV_OPT_DEFERRED_ACCEPT,
    support: "listener",
    detail:
      "Deno does not expose TCP_DEFER_ACCEPT, so the listener itself accepts and waits for the first byte, as long as `handshakeTimeout` says. Not for an adopted socket, an error with a Unix socket.",
  },
  {
    name: "LEV_OPT_REUSEABLE_PORT",
    bit: LEV_OPT_REUSEABLE_PORT,
    support: LINUX ? "listen-option" : "no-effect",
    detail: LINUX
      ? "Deno's reusePort, which needs --unstable-net. An error with a Unix socket, as in libevent."
      : "Deno's reusePort, which needs --unstable-net, sets SO_REUSEPORT on Linux only.",
  },
  {
    name: "LEV_OPT_BIND_IPV6ONLY",
    bit: LEV_OPT_BIND_IPV6ONLY,
    support: "listen-option",
    detail:
      "Holds by itself with a specific IPv6 hostname. Deno cannot set IPV6_V6ONLY, so with '::' it is refused.",
  },
  {
    name: "LEV_OPT_BIND_IPV4_AND_IPV6",
    bit: LEV_OPT_BIND_IPV4_AND_IPV6,
    support: WINDOWS ? "unsupported" : "listen-option",
    detail: WINDOWS
      ? "Windows turns IPV6_V6ONLY on for every socket, and Deno cannot turn it off."
      : "The hostname defaults to '::', which takes both where the system's own default for IPV6_V6ONLY is off.",
  },
];

const KNOWN_BITS = REPORTS.reduce((bits, report) => bits | report.bit, 0);

/**
 * Refuses what is not a combination of `LEV_OPT_*`.
 *
 * @param flags What was given as flags.
 * @param purpose What cannot be done with it, for the error's message.
 */
export function checkFlags(flags: number, purpose: string): void {
  if (typeof flags !== "number") {
    throw new TypeError(
      `Cannot ${purpose} as 'flags' must be a number: received ${
        Deno.inspect(flags)
      }`,
    );
  }
  if (!Number.isInteger(flags) || flags < 0) {
    throw new RangeError(
      `Cannot ${purpose} as 'flags' must be a combination of LEV_OPT_*: received ${flags}`,
    );
  }
  // Subtracted, because bitwise operators see 32 bits only.
  const unknown = flags - (flags & KNOWN_BITS);
  if (unknown !== 0) {
    throw new RangeError(
      `Cannot ${purpose} as 'flags' has unknown bits 0x${
        unknown.toString(16)
      }: received 0x${flags.toString(16)}`,
    );
  }
}

/**
 * Says what flags do on Deno, and why.
 *
 * @param flags `LEV_OPT_*` flags, combined with `|`.
 * @returns One report for each flag that is set, lowest bit first.
 * @throws {TypeError} If `flags` is not a number.
 * @throws {RangeError} If `flags` has unknown bits.
 *
 * @example Usage
 * ```ts
 * import { explainFlags, LEV_OPT_REUSEABLE, LEV_OPT_THREADSAFE } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const names = explainFlags(LEV_OPT_THREADSAFE | LEV_OPT_REUSEABLE)
 *   .map((report) => report.name);
 * assertEquals(names, ["LEV_OPT_REUSEABLE", "LEV_OPT_THREADSAFE"]);
 * ```
 */
export function explainFlags(flags: number): FlagReport[] {
  checkFlags(flags, "explain flags");
  return REPORTS.filter((report) => (flags & report.bit) !== 0)
    .map((report) => ({ ...report }));
}
