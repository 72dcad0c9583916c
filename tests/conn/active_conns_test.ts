/** Connections that are being served: internal/conn/active_conns.ts. */
import { assertEquals } from "@std/assert";
import { ActiveConns } from "../../internal/conn/active_conns.ts";
import { ConnState } from "../../internal/conn/conn_state.ts";
import { stateOf } from "../../internal/conn/front.ts";
import { turns } from "../helpers/clients.ts";
import { pairOn } from "../helpers/conn_pairs.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { random } from "../helpers/proxy_headers.ts";
import { tcp } from "../helpers/transports.ts";

/** A record without a connection, as nothing here looks at that. */
function numbered(order: number): ConnState {
  return Object.assign(new ConnState(undefined as unknown as Deno.Conn), {
    order,
  });
}

const orders = (active: Iterable<ConnState>) =>
  [...active].map(({ order }) => order);

Deno.test("ActiveConns iterates over all in the order in which they came, whoever comes and goes", () => {
  const active = new ActiveConns();
  const next = random(5);
  let here: ConnState[] = [];
  for (let order = 0; order < 2000; order++) {
    if (next(2) === 0) {
      const state = numbered(order);
      active.add(state);
      here.push(state);
    } else if (here.length > 0) {
      const state = here[next(here.length)]!;
      active.delete(state);
      here = here.filter((each) => each !== state);
    }
    assertEquals(orders(active), orders(here));
    assertEquals(active.size, here.length);
  }
});

Deno.test("ActiveConns leaves out who ends during an iteration, and who comes", () => {
  const active = new ActiveConns();
  const states = [0, 1, 2, 3, 4].map(numbered);
  for (const state of states) active.add(state);
  const seen: number[] = [];
  for (const { order } of active) {
    seen.push(order);
    if (order === 0) active.delete(states[1]!);
    if (order === 2) active.delete(states[2]!);
    if (order === 2) active.add(numbered(5));
  }
  assertEquals(seen, [0, 2, 3, 4]);
  assertEquals(orders(active), [0, 3, 4, 5]);
});

Deno.test("emptied() resolves when there are none", async () => {
  const active = new ActiveConns();
  await active.emptied();
  const states = [0, 1].map(numbered);
  for (const state of states) active.add(state);
  let isEmpty = false;
  const emptied = active.emptied().then(() => isEmpty = true);
  active.delete(states[0]!);
  await turns(1);
  assertEquals(isEmpty, false);
  active.delete(states[1]!);
  await emptied;
  assertEquals([active.completed, active.aborted], [2, 0]);
});

Deno.test("cutOff() closes all, and whatever is added from then on", async () => {
  const active = new ActiveConns();
  const pairs = [await pairOn(tcp), await pairOn(tcp), await pairOn(tcp)];
  const [first, second, late] = pairs.map(({ conn }) => stateOf(conn)) as [
    ConnState,
    ConnState,
    ConnState,
  ];
  active.add(first);
  active.delete(first); // has ended before
  active.add(second);
  active.cutOff();
  active.cutOff();
  active.add(late);
  for (const { client } of pairs.slice(1)) await hasEnd(client);
  active.delete(second);
  active.delete(late);
  assertEquals([active.completed, active.aborted, active.size], [1, 2, 0]);
  for (const pair of pairs) pair[Symbol.dispose]();
});
