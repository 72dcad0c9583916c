/** The faults of `survival.ts`: what clients do, and what there is to say about it. */
import net from "node:net";
import {
  descriptors,
  FAULTS,
  Program,
  roundTrip,
  writeAll,
} from "../tests/helpers/faults.ts";
import { freePort } from "../tests/helpers/free_port.ts";
import { Proxy } from "../tests/helpers/proxies.ts";

/** What clients do to a server. */
export interface Fault {
  title: string;
  /** The program without which the fault cannot be had. */
  needs?: string;
  /** What `survival_server.mjs` is told; "plain" if it is left out. */
  mode?:
    | "blocked"
    | "limits"
    | "no-timeout"
    | "serve-tls"
    | "proxy"
    | "crowd"
    | "full"
    | "awaited"
    | "unawaited";
  maxDescriptors?: number;
  /** Whether it comes right after the start of the server. */
  early?: boolean;
  tls?: boolean;
  /** Lets it happen; resolves to what there is to say about it. */
  run(port: number, server: Target): Promise<string | void>;
}

/** The server that a fault meets. */
export interface Target {
  pid: number;
  /** Whether a new client is served now. */
  serves(): Promise<boolean>;
}

/** The limit of the servers that have one. */
const LIMIT = 50;
const UPLOADS = 40;
/** How long the clients of a limited server stay, in ms: three times its timeouts. */
const STAY = 3000;
/** What every client of a server behind a proxy begins with. */
export const PROXY_HEADER = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";

/** The rows of the table, without its heading. */
export const FAULTS_TO_RUN: Fault[] = [
  {
    title: "20,000 clients reset while they wait",
    mode: "blocked",
    async run(port) {
      await using clients = Program.deno([FAULTS, "reset", `${port}`, "20000"]);
      await clients.status;
    },
  },
  {
    title: "Ten port scans (`nmap -sT`)",
    needs: "nmap",
    async run(port) {
      for (let i = 0; i < 10; i++) {
        await new Deno.Command("nmap", {
          args: ["-n", "-Pn", "-sT", "-p", `${port}`, "127.0.0.1"],
          stdout: "null",
        }).output();
      }
    },
  },
  {
    title: "200 clients, 64 descriptors",
    maxDescriptors: 64,
    run: (port) => withClients(port, 200, countAnswers),
  },
  {
    title: "120 clients, 64 descriptors, right after the start",
    maxDescriptors: 64,
    early: true,
    run: (port) => withClients(port, 120, countAnswers),
  },
  {
    title: "A handler that fails",
    async run(port) {
      using client = await connect(port);
      await roundTrip(client, "bug");
      await client.read(new Uint8Array(1)); // until the server ends it
    },
  },
  {
    title: "A client resets; its handler is awaited",
    mode: "awaited",
    run: resetMidTransfer,
  },
  {
    title: "A client resets; nothing awaits its handler",
    mode: "unawaited",
    run: resetMidTransfer,
  },
  {
    title: "100 clients reset while they transfer data",
    async run(port) {
      for (let i = 0; i < 100; i++) await resetMidTransfer(port);
    },
  },
  {
    title: "A client with 100 connections is killed",
    async run(port) {
      await using clients = Program.deno([FAULTS, "hold", `${port}`, "100"]);
      await clients.lineAfter("holding");
    },
  },
  {
    title: "1,000 clients that say nothing",
    run: (port) => withClients(port, 1000, () => pause(1000)),
  },
  {
    title: "100 clients that break off the TLS handshake",
    needs: "openssl",
    tls: true,
    async run(port) {
      const plain = new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n");
      const half = new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 42]);
      await withClients(port, 100, async (clients) => {
        for (const [i, client] of clients.entries()) {
          await client.write(i % 2 ? plain : half).catch(() => {});
        }
        await pause(1000);
      });
    },
  },
  {
    title: "As many silent clients as the limit allows",
    mode: "limits",
    run: (port, server) =>
      withClients(port, LIMIT, (clients) => stay(clients, server)),
  },
  silentTls("As many silent TLS clients as the limit allows", "limits"),
  silentTls("The same, at a server without a timeout", "no-timeout"),
  silentTls("The same, at a server with `serveTls()`", "serve-tls"),
  {
    title: "A client that sends 64 MB and never reads",
    mode: "limits",
    run: (port, server) =>
      withClients(port, 1, ([client]) => neverRead(client!, server)),
  },
  {
    title: "As many clients that stop in the PROXY header",
    mode: "proxy",
    run: (port, server) =>
      withClients(port, LIMIT, async (clients) => {
        const half = new TextEncoder().encode(PROXY_HEADER.slice(0, 20));
        for (const client of clients) await client.write(half);
        return await stay(clients, server);
      }),
  },
  {
    title: "A full server turns away 40 uploads of 3 MB from nginx",
    needs: "nginx",
    mode: "full",
    run: (port) => withClients(port, LIMIT, () => uploadAll(port)),
  },
  {
    title: "One client opens 5,000 connections",
    mode: "crowd",
    run: crowd,
  },
];

/** A client. */
export const connect = (port: number): Promise<Deno.TcpConn> =>
  Deno.connect({ hostname: "127.0.0.1", port });

/** How long a fault lasts is part of the fault. */
export const pause = (ms: number): Promise<void> =>
  new Promise<void>((go) => setTimeout(go, ms));

/** Has so many clients connected while something happens, or as many as can be. */
async function withClients<T>(
  port: number,
  count: number,
  during: (clients: Deno.TcpConn[]) => Promise<T>,
): Promise<T> {
  using clients = new DisposableStack();
  const conns: Deno.TcpConn[] = [];
  while (conns.length < count) {
    conns.push(clients.use(await connect(port)));
  }
  return await during(conns);
}

/** Clients that ask, wait at least 2 s, and leave with their answer or without. */
async function countAnswers(clients: Deno.TcpConn[]): Promise<string> {
  const asked = clients.map((client) =>
    roundTrip(client, "hello?").catch(() => "")
  );
  await pause(2000);
  const patience = setTimeout(
    () => clients.forEach((client) => client[Symbol.dispose]()),
    10_000,
  );
  let answered = 0;
  for (const [i, client] of clients.entries()) {
    if (await asked[i] === "hello?") answered++;
    client[Symbol.dispose]();
  }
  clearTimeout(patience);
  return `${answered} of ${clients.length} answered`;
}

/** A client that resets while the server is sending. */
function resetMidTransfer(port: number): Promise<void> {
  const closed = Promise.withResolvers<void>();
  const client = net.connect(port, "127.0.0.1");
  client.once("connect", () => client.write(new Uint8Array(1024 * 1024)));
  client.once("data", () => client.resetAndDestroy());
  client.once("error", () => {});
  client.once("close", () => closed.resolve());
  return closed.promise;
}

/** Clients that wait for the server to do something. */
async function stay(
  clients: Deno.TcpConn[],
  { serves }: Target,
): Promise<string> {
  let closed = 0;
  for (const client of clients) {
    client.read(new Uint8Array(1)).catch(() => {}).then(() => closed++);
  }
  await pause(STAY);
  const what = closed === 0 ? "kept them" : `closed ${closed} of them`;
  return `${what}, ${besides(await serves())}`;
}

/** Clients of a TLS server that say nothing, and the descriptors that they cost. */
function silentTls(title: string, mode: NonNullable<Fault["mode"]>): Fault {
  return {
    title,
    needs: "openssl",
    mode,
    tls: true,
    run(port, server) {
      const before = descriptors(server.pid);
      return withClients(port, LIMIT, async (clients) => {
        const what = await stay(clients, server);
        await pause(200); // until the other that was served is forgotten
        return `${what}, held ${descriptors(server.pid) - before} descriptors`;
      });
    },
  };
}

/** One address that opens many connections, one after the other, and keeps them. */
async function crowd(port: number, { serves }: Target): Promise<string> {
  const sockets: net.Socket[] = [];
  for (let i = 0; i < 5000; i++) {
    const socket = net.connect({
      port,
      host: "127.0.0.1",
      localAddress: "127.0.0.2",
    });
    socket.on("error", () => {});
    sockets.push(socket);
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once("connect", () => resolve());
    socket.once("close", () => resolve());
    await promise;
  }
  const served = await serves();
  for (const socket of sockets) socket.destroy();
  return besides(served);
}

/** Uploads through nginx, one after the other. Each should be told that there is no room. */
async function uploadAll(to: number): Promise<string> {
  const port = freePort();
  await using _nginx = await Proxy.nginxHttp(`server {
    listen 127.0.0.1:${port};
    client_max_body_size 10m;
    proxy_request_buffering off;
    location / { proxy_pass http://127.0.0.1:${to}; }
  }`);
  let answered = 0;
  for (let i = 0; i < UPLOADS; i++) {
    const response = await fetch(`http://127.0.0.1:${port}/`, {
      method: "POST",
      body: new Uint8Array(3_000_000),
    });
    if (response.status === 503) answered++; // nginx's own is a 502
    await response.body?.cancel();
  }
  return `${answered} of ${UPLOADS} answered`;
}

/** In the words of a row: the clients of the fault kept everybody else out. */
export const NO_OTHER = "**served no other**";

/** Whether somebody else was served while the clients of a fault were there. */
function besides(served: boolean): string {
  return served ? "served another" : NO_OTHER;
}

/** Sends for as long as the server takes it, up to 64 MB, and reads nothing. */
async function neverRead(
  client: Deno.TcpConn,
  { pid, serves }: Target,
): Promise<string> {
  const before = megabytes(pid);
  let most = before;
  let end = "kept it";
  const send = async () => {
    const bytes = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 64; i++) await writeAll(client, bytes);
  };
  send().catch(() => end = "cut it off");
  for (let ms = 0; ms < STAY; ms += 100) {
    await pause(100);
    most = Math.max(most, megabytes(pid));
  }
  const grown = `grew by ${Math.round(most - before)} MB`;
  const served = await serves();
  return [grown, end, besides(served)].join(", ");
}

/** The memory (RSS) of a process. */
function megabytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
