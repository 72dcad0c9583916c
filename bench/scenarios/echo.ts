/** What it costs to answer a PING on one of fifty open connections. */
import { messages } from "../load.ts";
import { BARE, type ReadyPeer, throughStreams } from "../peers.ts";
import {
  alone,
  byTurns,
  comparedTo,
  format,
  type Scenario,
  type Table,
} from "../scenario.ts";

export const echo: Scenario = ({ messages: count }, peers) => {
  const table = (how: string, rows: readonly ReadyPeer[]): Table => ({
    title: `echo: ${format(count)} PINGs on 50 connections${how}`,
    columns: { "CPU µs/msg": 2, "msg/s": 0 },
    baselines: comparedTo(BARE, rows),
    round: byTurns(
      rows.map(({ name, command }) => ({ name, start: () => alone(command) })),
      messages,
      count,
      ({ cpu, rate }) => ({ "CPU µs/msg": cpu, "msg/s": rate }),
    ),
  });
  return [table("", peers), table(", through the streams", throughStreams)];
};
