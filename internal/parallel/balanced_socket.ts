import type { ConnListener } from "../../listener.ts";
import { Balance, type Balanced } from "./balance.ts";
import type { Load, Shown } from "./load.ts";
import { SharedSocket } from "./shared_socket.ts";

/** A shared socket that tells the balance what happens, and yields when that says so. */
export class BalancedSocket extends SharedSocket implements Balanced {
  readonly #balance: Balance;
  readonly #rejects: boolean;
  #hasCome = false; // a connection, since the last look at the balance
  /** The listener that owns the socket. */
  owner: ConnListener | undefined;

  /**
   * @param open Opens one more socket for the queue.
   * @param rejects Whether the listener turns clients away when it is full.
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

  /** Yields to the others no more, and they do not yield to it. */
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
