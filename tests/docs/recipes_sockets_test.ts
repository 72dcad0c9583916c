/** docs/recipes.md: several sockets with one limit, run with 45 clients. */
import { assertEquals } from "@std/assert";
import { type ConnListener, listen } from "@evconn/listener";
import { until } from "../helpers/clients.ts";
import { roundTrip } from "../helpers/faults.ts";
import { hasAddress } from "../helpers/machine.ts";
import { recipeExports } from "../helpers/recipes.ts";
import { TempDir } from "../helpers/temp_dir.ts";

type Serve = (conn: Deno.Conn, listener: ConnListener<Deno.Conn>) => unknown;

/** TCP and, where there are any, IPv6 and Unix sockets: three in any case. */
function listenOnThree(serve: Serve, path: string) {
  const tcp = (hostname: string) => listen({ hostname, port: 0 }, serve);
  return [
    tcp("127.0.0.1"),
    tcp(hasAddress("::1") ? "::1" : "127.0.0.1"),
    Deno.build.os === "windows"
      ? tcp("127.0.0.1")
      : listen({ transport: "unix", path }, serve),
  ];
}

function connectTo({ addr }: { addr: Deno.Addr }): Promise<Deno.Conn> {
  if ("path" in addr) {
    return Deno.connect({ transport: "unix", path: addr.path });
  }
  const { hostname, port } = addr as Deno.NetAddr;
  return Deno.connect({ hostname, port });
}

/** Clients that are served until they are told to leave, and the most at a time. */
class Crowd {
  served = 0;
  peak = 0;
  answers = 0;
  #leaving = Promise.withResolvers<void>();

  async come(conn: Deno.Conn): Promise<void> {
    using _conn = conn;
    if (await roundTrip(conn, "?") !== "?") return;
    this.answers++;
    this.peak = Math.max(this.peak, ++this.served);
    await this.#leaving.promise;
    this.served--;
  }

  /** From now on each client leaves when it has its answer. */
  leave(): void {
    this.#leaving.resolve();
  }
}

for (const end of ["before", "after"]) {
  Deno.test(`recipes: three sockets with one limit lose nobody, shut down ${end} their clients were served`, async () => {
    const { serve, count, counts } = await recipeExports(
      "Several sockets, one limit",
      ...["serve", "count", "counts"],
    );
    counts.clear(); // of the recipe's own listeners, which are closed
    await using dir = new TempDir();
    const listeners = listenOnThree(serve, `${dir.path}/socket`);
    for (const listener of listeners) count(listener, 0);
    const crowd = new Crowd();
    const clients: Promise<void>[] = [];
    for (let i = 0; i < 45; i++) {
      clients.push(crowd.come(await connectTo(listeners[i % 3]!)));
    }
    await until(() => crowd.served === 10);
    const shutDown = () => Promise.all(listeners.map((it) => it.shutdown()));
    const over = end === "before" ? shutDown() : undefined;
    crowd.leave();
    await Promise.all(clients);
    const results = await (over ?? shutDown());
    assertEquals([crowd.answers, crowd.peak], [45, 10]);
    assertEquals(results.map(({ aborted }) => aborted), [0, 0, 0]);
  });
}

Deno.test("recipes: a socket without clients keeps a place in the limit of all", async () => {
  const { serve, count, counts } = await recipeExports(
    "Several sockets, one limit",
    ...["serve", "count", "counts"],
  );
  counts.clear();
  await using dir = new TempDir();
  const listeners = listenOnThree(serve, `${dir.path}/socket`);
  for (const listener of listeners) count(listener, 0);
  const crowd = new Crowd();
  const clients: Promise<void>[] = [];
  for (let i = 0; i < 20; i++) {
    clients.push(crowd.come(await connectTo(listeners[0]!)));
  }
  await until(() => crowd.served === 8);
  for (const listener of listeners.slice(1)) {
    clients.push(crowd.come(await connectTo(listener)));
  }
  await until(() => crowd.served === 10);
  crowd.leave();
  await Promise.all(clients);
  assertEquals([crowd.answers, crowd.peak], [22, 10]);
  await Promise.all(listeners.map((listener) => listener.shutdown()));
});
