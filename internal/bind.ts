/** Turns flags into options of `Deno.listen`, and refuses those that Deno cannot do. */
import {
  LEV_OPT_BIND_IPV4_AND_IPV6,
  LEV_OPT_BIND_IPV6ONLY,
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_REUSEABLE,
  LEV_OPT_REUSEABLE_PORT,
} from "../flags.ts";
import { refuse } from "./check.ts";
import { canonicalIpv6 } from "./util/ip_address.ts";

/** `listen(2)` takes an int. */
const MAX_BACKLOG = 2 ** 31 - 1;

/** The options of `Deno.listen` and `Deno.listenTls` that are used here. */
interface BindOptions {
  transport?: string;
  hostname?: string;
  path?: string;
  tcpBacklog?: number | undefined;
  reusePort?: boolean;
}

/**
 * Adds the flags to the options for `Deno.listen`, and returns the transport.
 *
 * @param bind The options, as `readOnce()` returns them.
 */
export function applyFlags(bind: BindOptions, flags: number): string {
  const { transport = "tcp" } = bind;
  if (!["tcp", "unix", "vsock"].includes(transport)) {
    refuse(TypeError, "transport", '"tcp", "unix" or "vsock"', transport);
  }
  if (transport !== "tcp") refuseTcpFlags(flags, transport);
  applyBacklog(bind);
  applyReusePort(bind, flags);
  applyAddressFamily(bind, flags);
  return transport;
}

/** With a Unix socket, these flags fail in libevent, too: setsockopt() refuses them. */
function refuseTcpFlags(flags: number, transport: string): void {
  for (
    const [name, bit] of Object.entries({
      LEV_OPT_REUSEABLE,
      LEV_OPT_DEFERRED_ACCEPT,
      LEV_OPT_REUSEABLE_PORT,
      LEV_OPT_BIND_IPV6ONLY,
      LEV_OPT_BIND_IPV4_AND_IPV6,
    })
  ) {
    if (flags & bit) {
      throw new TypeError(
        `Cannot listen as ${name} is a flag of TCP: the transport is ${
          JSON.stringify(transport)
        }`,
      );
    }
  }
}

/**
 * The default length of the kernel's queue. Linux limits it to `net.core.somaxconn`,
 * which is 4096 as well. With Deno's default of 511, clients that connect at the same
 * time wait for seconds.
 */
const DEFAULT_BACKLOG = 4096;

/** evconnlistener_new_bind's `backlog`: negative picks a default, and 0 fails. */
function applyBacklog(bind: BindOptions): void {
  const { tcpBacklog = -1 } = bind;
  const must = "a positive integer, or negative for the default";
  if (typeof tcpBacklog !== "number") {
    refuse(TypeError, "tcpBacklog", must, tcpBacklog);
  }
  if (
    !Number.isInteger(tcpBacklog) || tcpBacklog === 0 ||
    tcpBacklog > MAX_BACKLOG
  ) {
    refuse(RangeError, "tcpBacklog", must, tcpBacklog);
  }
  if (tcpBacklog < 0) bind.tcpBacklog = DEFAULT_BACKLOG;
}

/**
 * Without `--unstable-net`, asking Deno for `reusePort` ends the process with
 * status 70, and no `catch` sees it. `Deno.listenDatagram` exists exactly when
 * the flag was given.
 */
function applyReusePort(bind: BindOptions, flags: number): void {
  if (flags & LEV_OPT_REUSEABLE_PORT) bind.reusePort = true;
  if (bind.reusePort && !("listenDatagram" in Deno)) {
    throw new Deno.errors.NotSupported(
      "Cannot listen as LEV_OPT_REUSEABLE_PORT ('reusePort') needs Deno's --unstable-net flag",
    );
  }
}

/** Deno cannot set IPV6_V6ONLY. A suitable address has the same effect. */
function applyAddressFamily(bind: BindOptions, flags: number): void {
  const only6 = (flags & LEV_OPT_BIND_IPV6ONLY) !== 0;
  const both = (flags & LEV_OPT_BIND_IPV4_AND_IPV6) !== 0;
  if (!only6 && !both) return;
  const name = only6 ? "LEV_OPT_BIND_IPV6ONLY" : "LEV_OPT_BIND_IPV4_AND_IPV6";
  if (both && Deno.build.os === "windows") {
    throw new Deno.errors.NotSupported(
      `Cannot listen as ${name} is not supported on Windows: Deno cannot turn IPV6_V6ONLY off`,
    );
  }
  bind.hostname ??= "::";
  const { hostname } = bind;
  const address = canonicalIpv6(hostname);
  // With an IPv4-mapped address, the socket is an IPv4 socket.
  if (address === undefined || address.startsWith("::ffff:")) {
    throw new TypeError(
      `Cannot listen as ${name} needs an IPv6 address as 'hostname': received ${
        JSON.stringify(hostname)
      }`,
    );
  }
  if (only6 && address === "::") {
    throw new Deno.errors.NotSupported(
      `Cannot listen as ${name} is not supported with '::': Deno cannot turn IPV6_V6ONLY on. A specific IPv6 address takes IPv6 only`,
    );
  }
}

/** Refuses flags that exclude each other. */
export function checkAddressFamilies(flags: number): void {
  const only6 = (flags & LEV_OPT_BIND_IPV6ONLY) !== 0;
  const both = (flags & LEV_OPT_BIND_IPV4_AND_IPV6) !== 0;
  if (only6 && both) {
    throw new TypeError(
      "Cannot listen as LEV_OPT_BIND_IPV6ONLY and LEV_OPT_BIND_IPV4_AND_IPV6 exclude each other",
    );
  }
}
