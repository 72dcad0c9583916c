/** What a socket makes of an error of its connection. */
import { isCancelled } from "../util/failures.ts";

/**
 * Whether an error only says that this side has closed the connection. Then the socket
 * closes without an error. A timeout is one, so that a program can tell.
 */
export function isClosedHere(error: unknown): boolean {
  return isCancelled(error) && !(error instanceof Deno.errors.TimedOut);
}
