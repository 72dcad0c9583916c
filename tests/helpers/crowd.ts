/**
 * Programs for the tests of draining: a server whose event loop has far more to do
 * than to accept, and clients that come from outside of it.
 *
 * ```sh
 * deno run -A tests/helpers/crowd.ts busy own 2000 go          # blocks until there is a file "go"
 * deno run -A tests/helpers/crowd.ts talk 9876 2000 9 9876 100 # waits for SIGUSR1
 * deno run -A tests/helpers/crowd.ts load 9876 32              # clients that never stop coming
 * deno run -A tests/helpers/crowd.ts starve                    # out of descriptors until it shuts down
 * ```
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { turns, until } from "./clients.ts";
import { ask, echo, roundTrip, writeAll } from "./faults.ts";

/** This file, as the program that it is. */
export const CROWD: string = import.meta.url;

const HOSTNAME = "127.0.0.1";

/** An echo server that is blocked until a file is there, and then shuts down. */
async function serveBusily(
  whose: string,
  count: number,
  file: string,
): Promise<void> {
  const where = { hostname: HOSTNAME, port: 0 };
  const listener = listen(where, (conn) => {
    echo(conn).catch(() => {}); // not awaited by the listener
  });
  const busy = whose === "own" ? listener : listen(where, echo);
  console.log(`ports ${busy.addr.port} ${listener.addr.port}`);
  await until(() => busy.stats.accepted === count);
  await turns(); // an accept is in flight
  console.log("blocked");
  while (!exists(file));
  const before = listener.stats.accepted;
  await listener.shutdown();
  console.log(`delivered ${listener.stats.accepted - before}`);
}

function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}

/** Clients that all send so many bytes when they are told to, and late ones that come then. */
async function talk(
  busyPort: number,
  count: number,
  bytes: number,
  port: number,
  late: number,
): Promise<void> {
  const told = Promise.withResolvers<void>();
  Deno.addSignalListener("SIGUSR1", told.resolve);
  const conns = await connectMany(busyPort, count);
  console.log("connected");
  await told.promise;
  await Promise.all(conns.map((conn) => writeAll(conn, new Uint8Array(bytes))));
  const answers = (await connectMany(port, late)).map((conn) =>
    roundTrip(conn, "late").catch(() => "reset")
  );
  console.log("waiting");
  const answered = (await Promise.all(answers)).filter((it) => it === "late");
  console.log(`answered ${answered.length}`);
  Deno.exit();
}

async function connectMany(
  port: number,
  count: number,
): Promise<Deno.TcpConn[]> {
  const conns: Deno.TcpConn[] = [];
  while (conns.length < count) {
    const some = Array.from(
      { length: Math.min(count - conns.length, 100) },
      () => Deno.connect({ hostname: HOSTNAME, port }),
    );
    conns.push(...await Promise.all(some));
  }
  return conns;
}

/** Clients of an echo server, each of which comes again as soon as it has its answer. */
async function load(port: number, clients: number): Promise<void> {
  let answered = 0;
  const comeAgain = async () => {
    try {
      while (await ask({ port }, "hello") === "hello") {
        if (++answered === 1000) console.log("loaded");
      }
    } catch {
      // Refused, or reset in the queue: the server has ended.
    }
  };
  await Promise.all(Array.from({ length: clients }, comeAgain));
  console.log(`answered ${answered}`);
}

/** An echo server that has no descriptors for its clients until it shuts down. */
async function starve(): Promise<void> {
  // Deno's first look at signals takes descriptors, and comes half a second after the
  // start by itself: without any it would panic, and reset all clients.
  Deno.addSignalListener("SIGTERM", () => Deno.exit());
  const starved = Promise.withResolvers<void>();
  let failures = 0;
  const options = { hostname: HOSTNAME, port: 0 };
  const onAcceptError = () => {
    // 5 ms, doubled six times: the next try is far.
    if (++failures === 7) starved.resolve();
  };
  const listener = listen({ ...options, onAcceptError }, echo);
  const files = takeAllDescriptors();
  console.log(`port ${listener.addr.port}`);
  await starved.promise;
  for (const file of files) file.close();
  const { completed } = await listener.shutdown();
  console.log(`completed ${completed}`);
}

function takeAllDescriptors(): Deno.FsFile[] {
  const files: Deno.FsFile[] = [];
  for (;;) {
    try {
      files.push(Deno.openSync("/dev/null"));
    } catch {
      return files;
    }
  }
}

if (import.meta.main) {
  const [role = "", ...args] = Deno.args;
  const [one = 0, two = 0, ...others] = args.map(Number);
  if (role === "busy") await serveBusily(args[0]!, two, args[2]!);
  else if (role === "talk") {
    await talk(one, two, others[0]!, others[1]!, others[2]!);
  } else if (role === "load") await load(one, two);
  else if (role === "starve") await starve();
  else throw new Error(`There is no such program: ${role}`);
}
