/** What it costs to answer a PING on one of fifty open connections. */
import { messages } from "../load.ts";
import { BARE } from "../peers.ts";
import {
  alone,
  byTurns,
  comparedTo,
  format,
  type Scenario,
} from "../scenario.ts";

export const echo: Scenario = ({ messages: count }, peers) => [{
  title: `echo: ${format(count)} PINGs on 50 connections`,
  columns: { "CPU µs/msg": 2, "msg/s": 0 },
  baselines: comparedTo(BARE, peers),
  round: byTurns(
    peers.map(({ name, command }) => ({ name, start: () => alone(command) })),
    messages,
    count,
    ({ cpu, rate }) => ({ "CPU µs/msg": cpu, "msg/s": rate }),
  ),
}];
