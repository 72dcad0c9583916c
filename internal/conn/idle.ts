import { limitIdling, timeOut } from "./covered.ts";
import { Gate } from "../accept/gate.ts";
import { Sweep } from "../util/sweep.ts";

/** The stage that lets no operation on a connection wait too long for the client. */
export class Idle<C extends Deno.Conn, A extends Deno.Addr> extends Gate<C, A> {
  readonly #sweep: Sweep<Deno.Conn>;

  /**
   * @param timeout How long an operation may wait, in ms.
   * @param onTimeOut Told when a connection is closed for that.
   */
  constructor(
    inner: Deno.Listener<C, A>,
    timeout: number,
    onTimeOut: () => void,
  ) {
    const sweep = new Sweep<Deno.Conn>(timeout, (conn) => {
      onTimeOut();
      timeOut(conn);
    });
    const look = (conn: C) => {
      limitIdling(conn, sweep);
      return true;
    };
    super(inner, look, () => {});
    this.#sweep = sweep;
  }

  override giveBack(pending?: Promise<C>): (C | Promise<C>)[] {
    this.#sweep.end(); // it goes on for those that are delivered
    return super.giveBack(pending);
  }
}
