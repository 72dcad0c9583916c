/** What it costs to accept a connection, answer one PING on it, and see it go. */
import { connections } from "../load.ts";
import { BARE } from "../peers.ts";
import {
  alone,
  byTurns,
  comparedTo,
  format,
  type Scenario,
} from "../scenario.ts";

export const accept: Scenario = ({ connections: count }, peers) => [{
  title: `accept: ${format(count)} connections, a PING on each`,
  columns: { "CPU µs/conn": 1, "conn/s": 0 },
  baselines: comparedTo(BARE, peers),
  round: byTurns(
    peers.map(({ name, command }) => ({ name, start: () => alone(command) })),
    connections,
    count,
    ({ cpu, rate }) => ({ "CPU µs/conn": cpu, "conn/s": rate }),
  ),
}];
