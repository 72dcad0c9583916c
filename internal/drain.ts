import type { Acceptor } from "./accept/acceptor.ts";
import { BACKOFF } from "./accept/holds.ts";
import type { Parts } from "./ending.ts";
import { caughtUp } from "./util/event_loop.ts";
import { within } from "./util/within.ts";

/** How long descriptors may be missing before the queue is given up, in ms. */
const MAX_PATIENCE = 1000;
/**
 * After how many connections it ends in any case: more than a queue holds. Where
 * clients come faster than they are accepted, it is never empty.
 */
const MAX_ACCEPTS = 65_536;

/**
 * Waits while the acceptor takes what the kernel has completed, and closes the socket in
 * the turn in which there is nothing left. Ends without that when accepting is stopped,
 * or nothing will go on any more.
 */
export async function drain(
  { acceptor, socket, service }: Parts,
): Promise<void> {
  const giveUp = performance.now() + MAX_PATIENCE;
  const enough = socket.accepts + MAX_ACCEPTS;
  acceptor.retry();
  while (service.hasCallback && acceptor.isTaking) {
    if (acceptor.isAccepting) {
      await socket.dry(enough);
      if (!acceptor.isAccepting) continue; // it is not empty, but held
      await socket.release();
      while (await hasMoved(acceptor));
      return;
    }
    if (service.active.size > 0 || acceptor.parked > 0) {
      await acceptor.changed();
    } else if (acceptor.holds.has(BACKOFF)) {
      const patience = giveUp - performance.now();
      if (patience <= 0) return;
      await within(patience, acceptor.changed());
    } else if (!await hasMoved(acceptor)) {
      return; // full of clients that say nothing
    }
  }
}

/** Whether a connection that waits has become ready, or gone, by what the kernel has now. */
async function hasMoved(acceptor: Acceptor): Promise<boolean> {
  const { waiting } = acceptor;
  if (waiting === 0) return false;
  await caughtUp(() => acceptor.waiting === waiting);
  return acceptor.waiting !== waiting;
}
