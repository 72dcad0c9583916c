/** How long it takes to close all connections. */
import { hold } from "../load.ts";
import { deno } from "../peers.ts";
import { Process } from "../process.ts";
import { comparedTo, format, oneByOne, type Scenario } from "../scenario.ts";

const WAYS = ["by hand", "timeout: 0", "handlers heed signal"];

export const shutdown: Scenario = (plan) => {
  const open = Math.max(...plan.open);
  const rows = WAYS.map((way) => ({
    name: way,
    measure: async () => {
      await using server = await Process.serve(deno("shutdown.ts", way));
      await using _held = await hold(server.port, open);
      const before = server.cpu();
      await server.tell();
      const figures = JSON.parse(await server.line());
      return { ...figures, "CPU ms": (server.cpu() - before) / 1000 };
    },
  }));
  return [{
    title: `shutdown of ${format(open)} connections`,
    columns: { ms: 0, "CPU ms": 0 },
    baselines: comparedTo(WAYS[0]!, rows),
    round: oneByOne(rows),
  }];
};
