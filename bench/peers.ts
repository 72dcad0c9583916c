/** The programs that are measured: each listens on a port, and answers `+PONG`. */
import { build, compile } from "./compile.ts";
import { installed, run } from "./process.ts";

/** A peer, and a function that returns its command, or throws if it is not available. */
export interface Peer {
  name: string;
  command: () => string[] | Promise<string[]>;
}

/** The peer that all others are compared to. */
export const BARE = "Deno.listen";
export const CALLBACK = "listen, callback";
export const ITERATOR = "listen, iterator";

const programs = `${import.meta.dirname}/peers`;

/** The command of a Deno program in `peers/`. */
export function deno(program: string, ...args: string[]): string[] {
  const path = `${programs}/${program}`;
  return [Deno.execPath(), "run", "--quiet", "--allow-net", path, ...args];
}

/** All peers, also those that are not installed here. */
export const peers: readonly Peer[] = [
  { name: BARE, command: () => deno("bare.ts") },
  { name: CALLBACK, command: () => deno("callback.ts") },
  { name: ITERATOR, command: () => deno("iterator.ts") },
  {
    name: "listen, LEV_OPT_DEFERRED_ACCEPT",
    command: () => deno("option.ts", "deferred"),
  },
  {
    name: "listen, idleTimeout",
    command: () => deno("option.ts", "idleTimeout"),
  },
  {
    name: "listen, maxConnectionsPerPeer",
    command: () => deno("option.ts", "maxConnectionsPerPeer"),
  },
  { name: "listen, admit", command: () => deno("option.ts", "admit") },
  { name: "node:net in Deno", command: () => deno("node_net.mjs") },
  {
    name: "net.Server in Node",
    command: () => need("node", [`${programs}/node_net.mjs`]),
  },
  { name: "Bun.listen", command: bun },
  { name: "evconnlistener in C", command: libevent },
  {
    name: "redis-server",
    command: () =>
      need("redis-server", ["--save", "", "--appendonly", "no", "--port"]),
  },
];

/**
 * The peers whose name contains one of these texts, and the one that all are compared to.
 * Throws if a text matches no peer, because a table without it would look complete.
 */
export function choose(names: readonly string[]): Peer[] {
  for (const name of names) {
    if (peers.some((peer) => peer.name.includes(name))) continue;
    const known = peers.map((peer) => `  ${peer.name}`).join("\n");
    throw new Error(`Unknown peer: ${name}\nThe peers are:\n${known}`);
  }
  return peers.filter((peer) =>
    peer.name === BARE || names.some((name) => peer.name.includes(name))
  );
}

async function need(program: string, args: string[]): Promise<string[]> {
  if (await installed(program)) return [program, ...args];
  throw new Error(`${program} is not installed`);
}

/** The command of Bun, which is installed from npm if it is missing. */
async function bun(): Promise<string[]> {
  const program = `${programs}/bun.js`;
  if (await installed("bun")) return ["bun", program];
  const local = `${build}/node_modules/.bin/bun`;
  if (!await installed(local)) {
    await need("npm", []);
    await run(["npm", "install", "--prefix", build, "--no-save", "bun"]);
  }
  return [local, program];
}

async function libevent(): Promise<string[]> {
  return [await compile("peers/libevent.c", "-levent")];
}

/** A peer that can be started here. */
export interface ReadyPeer {
  name: string;
  command: string[];
}

/** Prepares the peers. Those that are not available are left out, and a line says so. */
export async function ready(wanted: readonly Peer[]): Promise<ReadyPeer[]> {
  const found: ReadyPeer[] = [];
  for (const { name, command } of wanted) {
    try {
      found.push({ name, command: await command() });
    } catch (error) {
      console.error(`${name} is left out: ${(error as Error).message.trim()}`);
    }
  }
  return found;
}

/** Peers whose clients begin with a PROXY header, which the bare loop takes for a message. */
export const behindProxy: readonly ReadyPeer[] = [
  { name: BARE, command: deno("bare.ts") },
  {
    name: "listen, proxyProtocol",
    command: deno("option.ts", "proxyProtocol"),
  },
];

/** Peers whose handlers use `readable` and `writable`. */
export const throughStreams: readonly ReadyPeer[] = [
  { name: BARE, command: deno("streams.ts", "bare") },
  { name: "listen, idleTimeout", command: deno("streams.ts", "idleTimeout") },
];

const heap = (mode: string): string[] => {
  const [command, run, ...args] = deno("heap.ts", mode) as [string, string];
  return [command, run, "--v8-flags=--expose-gc", ...args];
};

/** Peers that say how much of their heap is in use. */
export const withHeap: readonly ReadyPeer[] = [
  { name: BARE, command: heap("bare") },
  { name: CALLBACK, command: heap("callback") },
  { name: "idleTimeout", command: heap("idleTimeout") },
];
