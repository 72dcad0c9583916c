/** What a machine may lack, for a test's `ignore`. Each function here says so, with the reason. */
import { noteLeftOut } from "./missing.ts";

/** Whether a signal reaches a process. On Windows, `kill()` just ends it. */
export const HAS_SIGNALS: boolean = Deno.build.os !== "windows";

/** Whether there is no such address here. */
export function missingAddress(hostname: string): boolean {
  return !hasAddress(hostname) && noteLeftOut(`no address ${hostname}`);
}

/** Whether there is such an address here. It says nothing. */
export function hasAddress(hostname: string): boolean {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

/** Whether the kernel lets fewer connections wait for an accept than a test needs. */
export function shortQueue(needed: number): boolean {
  const longest = longestQueue();
  if (longest >= needed) return false;
  return noteLeftOut(`the kernel's queues are shorter than ${needed}`);
}

/** How many connections the kernel lets wait for an accept, however many are asked for. */
export function longestQueue(): number {
  if (Deno.build.os === "windows") return 200; // more only for a negative backlog
  if (Deno.build.os !== "linux") return 128;
  return Number(Deno.readTextFileSync("/proc/sys/net/core/somaxconn"));
}

/** Whether a process may have fewer descriptors than a test needs, whatever it does. */
export function fewDescriptors(needed: number): boolean {
  if (mostDescriptors() >= needed) return false;
  return noteLeftOut(`a process may not have ${needed} descriptors`);
}

/** The hard limit: Deno raises its own to that when it starts. */
function mostDescriptors(): number {
  if (Deno.build.os === "windows") return Infinity;
  const args = ["-c", "ulimit -Hn"];
  const { stdout } = new Deno.Command("sh", { args }).outputSync();
  const limit = new TextDecoder().decode(stdout).trim();
  return limit === "unlimited" ? Infinity : Number(limit);
}
