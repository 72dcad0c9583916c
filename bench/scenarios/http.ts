/** What it costs to answer an HTTP request on one of fifty open connections. */
import { requests } from "../load.ts";
import { deno } from "../peers.ts";
import {
  alone,
  byTurns,
  comparedTo,
  format,
  type Scenario,
} from "../scenario.ts";

const ROWS = ["Deno.serve", "node:http", "listen, node:http"];

export const http: Scenario = ({ connections: count }) => {
  const rows = ROWS.map((name) => ({ name }));
  return [{
    title: `http: ${format(count)} requests on 50 connections`,
    columns: { "CPU µs/request": 1, "requests/s": 0 },
    baselines: comparedTo(ROWS[0]!, rows),
    round: byTurns(
      rows.map(({ name }) => ({
        name,
        start: () => alone(deno("http.ts", name)),
      })),
      requests,
      count,
      ({ cpu, rate }) => ({ "CPU µs/request": cpu, "requests/s": rate }),
    ),
  }];
};
