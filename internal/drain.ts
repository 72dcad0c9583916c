import { caughtUp } from "./util/event_loop.ts";
import type { Parts } from "./ending.ts";
import type { Stage } from "./accept/stage.ts";
import { within } from "./util/within.ts";

/** How long descriptors may be missing before the queue is given up, in ms. */
const MAX_PATIENCE = 1000;
/**
 * After how many connections it ends in any case: more than a queue holds. Where
 * clients come faster than they are accepted, it is never empty.
 */
const MAX_TAKEN = 65_536;

/**
 * Waits while the accept loop takes what the kernel has completed, and closes the
 * socket in the turn in which there is nothing left. Ends without that when accepting
 * is stopped, or nothing will go on any more.
 */
export async function drain<C extends Deno.Conn, A extends Deno.Addr>(
  { acceptor, stage, socket, service }: Parts<C, A>,
): Promise<void> {
  const giveUp = performance.now() + MAX_PATIENCE;
  const enough = socket.accepts + MAX_TAKEN;
  acceptor.retry();
  while (service.hasCallback && acceptor.intake !== "nobody") {
    if (acceptor.intake === "anybody") {
      await socket.dry(enough);
      if (acceptor.intake !== "anybody") continue; // it is not empty, but held
      await socket.release();
      while (await hasMoved(stage));
      return;
    }
    if (service.active.size > 0) {
      await acceptor.changed();
    } else if (acceptor.holds.includes("backoff")) {
      const patience = giveUp - performance.now();
      if (patience <= 0) return;
      await within(patience, acceptor.changed());
    } else if (!await hasMoved(stage)) {
      return; // full of clients that say nothing
    }
  }
}

/** Whether anybody in a stage has become ready, or gone, by what the kernel has now. */
async function hasMoved(stage: Stage): Promise<boolean> {
  const { waiting } = stage;
  if (waiting === 0) return false;
  await caughtUp(() => stage.waiting === waiting);
  return stage.waiting !== waiting;
}
