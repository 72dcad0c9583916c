import type { ConnListener } from "../../listener.ts";
import { Balance, type BalanceOwner } from "./balance.ts";
import type { Load, Shown } from "./load.ts";
import { SharedSocket } from "./shared_socket.ts";

/** A shared socket that yields to other workers when its balance decides so. */
export class BalancedSocket extends SharedSocket implements BalanceOwner {
  readonly #balance: Balance;
  readonly #rejects: boolean;
  #hasCome = false; // a connection, since the last update()
  /** The listener that owns the socket. */
  owner: ConnListener | undefined;

  /**
   * @param open Opens one more socket for the queue.
   * @param rejects Whether the listener has `overflow: "reject"`.
   */
  constructor(open: () => Deno.Listener, load: Load, rejects: boolean) {
    super(open);
    this.#rejects = rejects;
    this.#balance = new Balance(load, this);
  }

  get load(): Shown {
    if (this.owner === undefined) {
      return { held: 0, isFull: false, isOpen: false };
    }
    const { active, waiting, parked } = this.owner.stats;
    const held = active + waiting + parked;
    const isFull = this.#rejects && held >= this.owner.maxConnections;
    return { held, isFull, isOpen: this.isWanted };
  }

  yield(): Disposable {
    return this.suspend();
  }

  /** Must be called when a connection has ended. */
  update(): void {
    if (this.#hasCome) this.#balance.arrive();
    else this.#balance.update();
    this.#hasCome = false;
  }

  protected override onConn(conn: Deno.Conn): void {
    this.#hasCome = true;
    super.onConn(conn);
  }

  override accept(): void {
    this.update();
    super.accept();
  }

  override cancel(): void {
    this.update();
    super.cancel();
  }

  /** Ends the balance: it does not yield any more, and the others do not yield to it. */
  end(): void {
    this.#balance.end();
  }

  override leave(): void {
    this.end();
    super.leave();
  }

  override release(): Promise<void> {
    this.end();
    return super.release();
  }
}
