import type { Acceptor } from "./accept/acceptor.ts";
import { BACKOFF } from "./accept/holds.ts";
import type { Parts } from "./ending.ts";
import { caughtUp } from "./util/event_loop.ts";
import { within } from "./util/within.ts";

/** How long file descriptors may be missing before the drain gives up, in ms. */
const MAX_BACKOFF = 1000;
/**
 * After how many accepts the drain ends in any case: more than a queue holds. The queue
 * is never empty if clients come faster than they are accepted.
 */
const MAX_ACCEPTS = 65_536;

/**
 * Waits until the acceptor has accepted all connections in the kernel's queue, and closes
 * the socket in the turn of the event loop in which the queue is empty. Returns without
 * closing it if accepting is stopped, or nothing more will be accepted.
 */
export async function drain(
  { acceptor, socket, service }: Parts,
): Promise<void> {
  const giveUpAt = performance.now() + MAX_BACKOFF;
  const enough = socket.accepts + MAX_ACCEPTS;
  acceptor.retry();
  while (service.hasCallback && acceptor.delivers) {
    if (acceptor.isAccepting) {
      await socket.queueEmpty(enough);
      if (!acceptor.isAccepting) continue; // the queue is not empty, but a hold has begun
      await socket.release();
      while (await hasMoved(acceptor));
      return;
    }
    if (service.active.size > 0 || acceptor.parked > 0) {
      await acceptor.changed();
    } else if (acceptor.holds.has(BACKOFF)) {
      const left = giveUpAt - performance.now();
      if (left <= 0) return;
      await within(left, acceptor.changed());
    } else if (!await hasMoved(acceptor)) {
      return; // all places have clients that send nothing
    }
  }
}

/** Whether one of the waiting connections gets ready, or leaves, by what the kernel has now. */
async function hasMoved(acceptor: Acceptor): Promise<boolean> {
  const { waiting } = acceptor;
  if (waiting === 0) return false;
  await caughtUp(() => acceptor.waiting === waiting);
  return acceptor.waiting !== waiting;
}
