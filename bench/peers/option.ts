/** This package's listener with one option, by its name. */
import {
  LEV_OPT_DEFERRED_ACCEPT,
  listen,
  type ListenerOptions,
} from "@evconn/listener";
import { pong } from "./pong.ts";

const options: Record<string, ListenerOptions> = {
  deferred: { flags: LEV_OPT_DEFERRED_ACCEPT },
  proxyProtocol: { proxyProtocol: true },
  idleTimeout: { idleTimeout: 60_000 },
  maxConnectionsPerPeer: { maxConnectionsPerPeer: 1000 },
  admit: { admit: (addr) => addr.hostname === "127.0.0.1" },
};

const [name = "", port = ""] = Deno.args;
listen({ hostname: "127.0.0.1", port: Number(port), ...options[name] }, pong);
