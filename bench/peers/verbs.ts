/**
 * What the listener's verbs cost while connections are open, which only the
 * process itself can tell. Prints ns per call as JSON.
 */
import { listen } from "@evconn/listener";
import { median } from "../summary.ts";
import { pong } from "./pong.ts";
import { told } from "./told.ts";

const BATCHES = 50;
const CALLS = 2000;

const [port] = Deno.args.map(Number) as [number];
const listener = listen({ hostname: "127.0.0.1", port }, pong);
await told();

let sum = 0;
const verbs: Record<string, () => void> = {
  "pause + resume": () => {
    listener.pause();
    listener.resume();
  },
  "setCallback": () => listener.setCallback(pong),
  "stats": () => sum += listener.stats.active,
};
const times = Object.entries(verbs).map(([name, verb]) => {
  const batches = Array.from({ length: BATCHES }, () => {
    const start = performance.now();
    for (let i = 0; i < CALLS; i++) verb();
    return (performance.now() - start) / CALLS * 1e6;
  });
  return [name, median(batches)];
});
console.log(JSON.stringify(Object.fromEntries(times)));
Deno.exit();
