import { getAvailablePort } from "@std/net/get-available-port";

/** Below the ports that Linux gives to clients, which begin at 32768. */
const FIRST = 20_000;
const COUNT = 10_000;

/**
 * A port for a program that is told on which to listen. The system gives it to no
 * client meanwhile.
 */
export function freePort(): number {
  const preferredPort = FIRST + Math.floor(Math.random() * COUNT);
  return getAvailablePort({ preferredPort });
}
