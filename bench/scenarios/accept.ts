/** What it costs to accept a connection, answer one PING on it, and see it go. */
import { connections, proxied } from "../load.ts";
import { BARE, behindProxy, type ReadyPeer } from "../peers.ts";
import {
  alone,
  byTurns,
  comparedTo,
  format,
  type Load,
  type Scenario,
  type Table,
} from "../scenario.ts";

export const accept: Scenario = ({ connections: count }, peers) => {
  const table = (
    title: string,
    rows: readonly ReadyPeer[],
    load: Load,
  ): Table => ({
    title: `accept: ${format(count)} connections, after as many: ${title}`,
    columns: { "CPU µs/conn": 1, "conn/s": 0 },
    baselines: comparedTo(BARE, rows),
    round: byTurns(
      rows.map(({ name, command }) => ({ name, start: () => alone(command) })),
      load,
      count,
      ({ cpu, rate }) => ({ "CPU µs/conn": cpu, "conn/s": rate }),
    ),
  });
  return [
    table("a PING on each", peers, connections),
    ...[1, 2].map((version) =>
      table(
        `a PROXY header of version ${version} and a PING on each`,
        behindProxy,
        proxied(version as 1 | 2),
      )
    ),
  ];
};
