/** Who is measured: each peer is a program that takes a port and answers `+PONG`. */
import { installed, run } from "./process.ts";

/** A peer, and how its command is had. Throws where it cannot be. */
export interface Peer {
  name: string;
  command: () => string[] | Promise<string[]>;
}

/** The peer that all others are compared to. */
export const BARE = "Deno.listen";
export const CALLBACK = "listen, callback";
export const ITERATOR = "listen, iterator";

const programs = `${import.meta.dirname}/peers`;
const build = `${import.meta.dirname}/.build`;

/** The command of a Deno program in `peers/`. */
export function deno(program: string, ...args: string[]): string[] {
  const path = `${programs}/${program}`;
  return [Deno.execPath(), "run", "--quiet", "--allow-net", path, ...args];
}

/** All of them, as far as they are known; what is missing is left out later. */
export const peers: readonly Peer[] = [
  { name: BARE, command: () => deno("bare.ts") },
  { name: CALLBACK, command: () => deno("callback.ts") },
  { name: ITERATOR, command: () => deno("iterator.ts") },
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

async function need(program: string, args: string[]): Promise<string[]> {
  if (await installed(program)) return [program, ...args];
  throw new Error(`${program} is not installed`);
}

/** Bun is on npm, too. */
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
  const program = `${build}/libevent`;
  await need("cc", []);
  await Deno.mkdir(build, { recursive: true });
  await run(["cc", "-O2", "-o", program, `${programs}/libevent.c`, "-levent"]);
  return [program];
}

/** A peer that can be started here. */
export interface ReadyPeer {
  name: string;
  command: string[];
}

/** Makes the peers ready; those that cannot be had are left out, with a line that says so. */
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
