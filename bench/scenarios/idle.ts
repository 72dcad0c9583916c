/** The memory that an open connection takes while it is silent. */
import { connections, hold } from "../load.ts";
import { BARE, withHeap } from "../peers.ts";
import { Process } from "../process.ts";
import { comparedTo, format, oneByOne, type Scenario } from "../scenario.ts";
import type { Figures } from "../summary.ts";

export const idle: Scenario = (plan, peers) => {
  const sizes = plan.open.filter((open) => open > 0);
  const column = (open: number) => `KB/conn at ${format(open)}`;
  const measure = async (command: string[]) => {
    const figures: Figures = {};
    for (const open of sizes) {
      await using server = await Process.serve(command);
      await connections(server.port, 1000); // what is loaded and compiled once
      const before = server.memory();
      await using _held = await hold(server.port, open);
      figures[column(open)] = (server.memory() - before) / open / 1024;
    }
    return figures;
  };
  const heapUsed = async (server: Process) => {
    await server.tell();
    return Number(await server.line());
  };
  const measureHeap = async (command: string[]) => {
    const open = sizes.at(-1)!;
    await using server = await Process.serve(command);
    await connections(server.port, 1000);
    const before = await heapUsed(server);
    await using _held = await hold(server.port, open);
    const after = await heapUsed(server);
    return { "bytes/conn": (after - before) / open };
  };
  return [{
    title: "idle: memory of open connections",
    columns: Object.fromEntries(sizes.map((open) => [column(open), 1])),
    baselines: comparedTo(BARE, peers),
    round: oneByOne(
      peers.map(({ name, command }) => ({
        name,
        measure: () => measure(command),
      })),
    ),
  }, {
    title: "idle: what of it is in the heap of JavaScript",
    columns: { "bytes/conn": 0 },
    baselines: comparedTo(BARE, withHeap),
    round: oneByOne(
      withHeap.map(({ name, command }) => ({
        name,
        measure: () => measureHeap(command),
      })),
    ),
  }];
};
