/** As parallel.ts, but without the balance: the first worker that accepts gets the connection. */
import { told } from "./told.ts";

const [count, , port] = Deno.args.map(Number) as [number, number, number];
const module = new URL("./unspread_worker.ts", import.meta.url);

/** Resolves with what a worker says next. */
const said = (worker: Worker) =>
  new Promise<number>((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });

const workers = Array.from({ length: count }, () => {
  const worker = new Worker(module, { type: "module" });
  worker.postMessage(port);
  return worker;
});
for (let times = 0; times < 2; times++) {
  await told();
  const active = workers.map((worker) => {
    worker.postMessage("active");
    return said(worker);
  });
  console.log(JSON.stringify(await Promise.all(active)));
}
