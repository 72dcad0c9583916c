/** Whether anything costs more when many connections are open. */
import { connections, hold, messages } from "../load.ts";
import { BARE, CALLBACK, deno, ITERATOR } from "../peers.ts";
import { Process } from "../process.ts";
import {
  byTurns,
  format,
  type Loaded,
  oneByOne,
  type Scenario,
} from "../scenario.ts";

const VERBS = ["pause + resume", "setCallback", "stats"];

/** A server with so many connections open. */
async function crowded(command: string[], open: number): Promise<Loaded> {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await Process.serve(command));
  stack.use(await hold(server.port, open));
  return { server, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const IDLE = "idleTimeout";

export const growth: Scenario = (
  { open: sizes, connections: count, messages: pings },
  peers,
) => {
  const row = (peer: string, open: number) => `${peer}, ${format(open)} open`;
  const baselines = (names: string[]) =>
    Object.fromEntries(
      names.flatMap((name) =>
        sizes.map((open) => [row(name, open), row(name, sizes[0]!)])
      ),
    );
  const ours = peers.filter(({ name }) =>
    [BARE, CALLBACK, ITERATOR].includes(name)
  );
  const timed = peers.filter(({ name }) => [CALLBACK, IDLE].includes(name));
  const call = async (open: number) => {
    await using loaded = await crowded(deno("verbs.ts"), open);
    await loaded.server.tell();
    return JSON.parse(await loaded.server.line());
  };
  return [{
    title: `growth: ${format(count)} connections while others are open`,
    columns: { "CPU µs/conn": 1 },
    baselines: baselines(ours.map(({ name }) => name)),
    round: byTurns(
      ours.flatMap(({ name, command }) =>
        sizes.map((open) => ({
          name: row(name, open),
          start: () => crowded(command, open),
        }))
      ),
      connections,
      count,
      ({ cpu }) => ({ "CPU µs/conn": cpu }),
    ),
  }, {
    title: `growth: ${format(pings)} PINGs while others are open and silent`,
    columns: { "CPU µs/msg": 2 },
    baselines: baselines(timed.map(({ name }) => name)),
    round: byTurns(
      timed.flatMap(({ name, command }) =>
        sizes.map((open) => ({
          name: row(name, open),
          start: () => crowded(command, open),
        }))
      ),
      messages,
      pings,
      ({ cpu }) => ({ "CPU µs/msg": cpu }),
    ),
  }, {
    title: "growth: calls while connections are open, ns",
    columns: Object.fromEntries(VERBS.map((verb) => [verb, 0])),
    baselines: baselines([CALLBACK]),
    round: oneByOne(sizes.map((open) => ({
      name: row(CALLBACK, open),
      measure: () => call(open),
    }))),
  }];
};
