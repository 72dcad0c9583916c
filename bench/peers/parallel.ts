/** This package's service on several cores: how many workers, and their work in µs. */
import { listenParallel } from "@evconn/listener/parallel";
import { told } from "./told.ts";

const [workers, us, port] = Deno.args.map(Number) as [number, number, number];
const service = await listenParallel(
  new URL("./parallel_worker.ts", import.meta.url),
  { hostname: "127.0.0.1", port, workers, data: us },
);
// When it is told to: how many connections each worker has.
for (let times = 0; times < 2; times++) {
  await told();
  const { workers } = await service.stats();
  console.log(JSON.stringify(workers.map(({ active }) => active)));
}
