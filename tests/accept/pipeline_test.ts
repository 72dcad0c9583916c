/** The checks that a connection passes before it is delivered: internal/accept/pipeline.ts. */
import { assert, assertEquals } from "@std/assert";
import {
  type Check,
  Pipeline,
  type PipelineOwner,
  type Refusal,
} from "../../internal/accept/pipeline.ts";
import type { ConnState } from "../../internal/conn/conn_state.ts";
import { readAhead, stateOf } from "../../internal/conn/front.ts";
import { turns, until } from "../helpers/clients.ts";
import { Clock } from "../helpers/clock.ts";
import { type Pair, pairOn } from "../helpers/conn_pairs.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { tcp } from "../helpers/transports.ts";

/** Has a pipeline, and keeps what it brings: the numbers of the connections. */
class Owner implements PipelineOwner {
  readonly pipeline: Pipeline;
  readonly ready: number[] = [];
  readonly refused: [order: number, why: Refusal][] = [];
  began = 0; // to wait

  constructor(checks: Check[], timeout = Infinity) {
    this.pipeline = new Pipeline(checks, timeout, this);
  }

  onReady(state: ConnState): void {
    this.ready.push(state.order);
  }

  onRefused(state: ConnState, why: Refusal): void {
    this.refused.push([state.order, why]);
    state.conn[Symbol.dispose]();
  }

  onWaiting(): void {
    this.began++;
  }
}

/** So many pairs, all closed at the end of the scope, and their connections, numbered from 0. */
async function pairs(count: number) {
  const pairs: Pair[] = [];
  for (let i = 0; i < count; i++) pairs.push(await pairOn(tcp));
  return {
    clients: pairs.map(({ client }) => client),
    states: pairs.map(({ conn }, order) =>
      Object.assign(stateOf(conn), { order })
    ),
    [Symbol.dispose]: () => pairs.forEach((pair) => pair[Symbol.dispose]()),
  };
}

const orders = (states: readonly ConnState[]) =>
  states.map(({ order }) => order);

/** A check that says "not yet" until a test says more. */
function waiting() {
  const outcomes = new Map<ConnState, true | Refusal>();
  const check: Check = (state) => outcomes.get(state);
  const end = (state: ConnState, outcome: true | Refusal = true) => {
    outcomes.set(state, outcome);
    state.onCome?.(state);
  };
  return { check, end };
}

/** The first byte is here, or the client has gone. */
const firstByte: Check = (state) => {
  if (state.ahead?.length) return true;
  if (state.ahead?.hasEnded) return false;
  readAhead(state);
};

Deno.test("enter() asks one check after the other, and again only the one that waits", async () => {
  using some = await pairs(1);
  const [state] = some.states as [ConnState];
  const asked: string[] = [];
  const [first, second] = [waiting(), waiting()];
  const named = (name: string, check: Check): Check => (state) => {
    asked.push(name);
    return check(state);
  };
  const owner = new Owner([
    named("at once", () => true),
    named("first", first.check),
    named("between", () => true),
    named("second", second.check),
  ]);
  owner.pipeline.enter(state);
  assertEquals(asked.splice(0), ["at once", "first"]);
  state.onCome!(state); // something has come, and it is not enough
  assertEquals(asked.splice(0), ["first"]);
  second.end(state);
  assertEquals(asked.splice(0), ["first"]);
  first.end(state);
  assertEquals(asked, ["first", "between", "second"]);
  assertEquals([owner.ready, owner.began], [[0], 1]);
});

Deno.test("enter() makes ready at once what need not wait", async () => {
  using some = await pairs(1);
  const owner = new Owner([() => true, () => true]);
  owner.pipeline.enter(some.states[0]!);
  assertEquals([owner.ready, owner.began, owner.pipeline.size], [[0], 0, 0]);
});

Deno.test("those that are ready first come first, and nobody waits for a slow client", async () => {
  using some = await pairs(4);
  const { check, end } = waiting();
  const owner = new Owner([check]);
  for (const state of some.states) owner.pipeline.enter(state);
  assertEquals([owner.pipeline.size, owner.began], [4, 4]);
  for (const i of [2, 0, 3]) end(some.states[i]!);
  assertEquals([owner.ready, owner.pipeline.size], [[2, 0, 3], 1]);
  assertEquals(orders(owner.pipeline.states), [1]);
});

Deno.test("one that a check refuses is brought with the reason, at once or later", async () => {
  using some = await pairs(3);
  const { check, end } = waiting();
  const [first, second, third] = some.states as [
    ConnState,
    ConnState,
    ConnState,
  ];
  const owner = new Owner([(state) => state !== first || "full", check]);
  for (const state of some.states) owner.pipeline.enter(state);
  end(third, "proxy-header");
  end(second, false);
  assertEquals(owner.refused, [
    [0, "full"],
    [2, "proxy-header"],
    [1, false],
  ]);
  assertEquals([owner.pipeline.size, owner.ready, owner.began], [0, [], 2]);
});

Deno.test("one that has left is not asked again, whatever comes", async () => {
  using some = await pairs(1);
  const { check, end } = waiting();
  let asked = 0;
  const owner = new Owner([check, () => ++asked > 0]);
  const [state] = some.states as [ConnState];
  owner.pipeline.enter(state);
  end(state);
  assertEquals(state.onCome, undefined);
  assertEquals([asked, owner.ready.length], [1, 1]);
});

Deno.test("one that is not ready in time is refused without a reason", async () => {
  using clock = new Clock();
  using some = await pairs(2);
  const { check, end } = waiting();
  const owner = new Owner([check], 8000);
  const [late, ready] = some.states as [ConnState, ConnState];
  owner.pipeline.enter(late);
  owner.pipeline.enter(ready);
  clock.pass(7900);
  assertEquals(owner.refused, []);
  end(ready);
  clock.pass(1200);
  assertEquals([owner.refused, owner.ready], [[[0, false]], [1]]);
  owner.pipeline.end();
  assertEquals(clock.timers, 0);
});

Deno.test("the time of one that is asked again goes on", async () => {
  using clock = new Clock();
  using some = await pairs(1);
  const [state] = some.states as [ConnState];
  const owner = new Owner([() => undefined], 8000);
  owner.pipeline.enter(state);
  for (let i = 0; i < 12; i++) {
    clock.pass(900);
    state.onCome?.(state); // a byte of a header each second
  }
  assertEquals(owner.refused, [[0, false]]);
  owner.pipeline.end();
});

Deno.test("a client that goes while its connection waits is refused", async () => {
  using some = await pairs(2);
  const owner = new Owner([firstByte]);
  for (const state of some.states) owner.pipeline.enter(state);
  some.clients[0]!.close();
  await until(() => owner.refused.length === 1);
  await some.clients[1]!.write(new Uint8Array(1));
  await until(() => owner.ready.length === 1);
  assertEquals(owner.refused, [[0, false]]);
  assertEquals(owner.ready, [1]);
});

Deno.test("closing one that waits is quiet, and leaves nothing behind", async () => {
  using some = await pairs(1);
  const [state] = some.states as [ConnState];
  const owner = new Owner([firstByte], 10);
  owner.pipeline.enter(state); // and its read is pending
  await until(() => owner.refused.length === 1);
  await hasEnd(some.clients[0]!);
  await turns(); // the read has been cancelled
  assertEquals([owner.refused, owner.ready], [[[0, false]], []]);
  owner.pipeline.end();
});

Deno.test("end() gives those that wait, and what comes afterwards is not looked at", async () => {
  using some = await pairs(3);
  const { check, end } = waiting();
  const owner = new Owner([check], 60_000);
  for (const state of some.states) owner.pipeline.enter(state);
  end(some.states[1]!);
  const left = owner.pipeline.end();
  assertEquals(orders(left).sort(), [0, 2]);
  assertEquals([owner.pipeline.size, owner.pipeline.states.length], [0, 0]);
  end(some.states[0]!, false);
  assertEquals([owner.refused, owner.ready], [[], [1]]);
}); // a timer that is left would be a leak

for (const outcome of [true, "not-admitted", false] as const) {
  for (const before of ["at once", "after a wait"]) {
    Deno.test(`end() by a check that says ${outcome} ${before} leaves that connection to the answer, and asks no further check`, async () => {
      using some = await pairs(2);
      const [state, other] = some.states as [ConnState, ConnState];
      const { check, end } = waiting();
      let isCheckingMeanwhile: boolean | undefined;
      let left: ConnState[] = [];
      let asked = 0;
      const owner: Owner = new Owner([
        (state) => before === "at once" && state !== other || check(state),
        () => {
          left = owner.pipeline.end();
          isCheckingMeanwhile = owner.pipeline.isChecking;
          return outcome;
        },
        () => ++asked > 0,
      ], 60_000);
      owner.pipeline.enter(other);
      owner.pipeline.enter(state);
      end(state);
      assertEquals([orders(left), isCheckingMeanwhile], [[1], true]);
      assertEquals([owner.pipeline.isChecking, owner.pipeline.size], [
        false,
        0,
      ]);
      const isReady = outcome === true;
      assertEquals(owner.ready, isReady ? [0] : []);
      assertEquals(owner.refused, isReady ? [] : [[0, outcome]]);
      assertEquals([asked, state.onCome], [0, undefined]);
    });
  }
}

Deno.test("one that is asked about counts among those inside", async () => {
  using some = await pairs(2);
  const sizes: number[] = [];
  const { check, end } = waiting();
  const look = () => sizes.push(owner.pipeline.size) > 0;
  const owner: Owner = new Owner([look, check, look]);
  for (const state of some.states) owner.pipeline.enter(state);
  end(some.states[1]!);
  assertEquals(sizes, [1, 2, 2]);
  assert(!owner.pipeline.isChecking);
});
