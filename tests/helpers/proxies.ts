/** HAProxy and nginx, run beside a test with a configuration of its own. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { type ConnListener, listen, proxyHeader } from "@evconn/listener";
import { Process } from "./example_process.ts";
import { roundTrip, writeAll } from "./faults.ts";
import { leaveOut, missing } from "./missing.ts";
import { TempDir } from "./temp_dir.ts";

/** A proxy that accepts connections. Disposing of it ends it. */
export class Proxy implements AsyncDisposable {
  readonly #process: Process;
  readonly #directory: TempDir;

  private constructor(process: Process, directory: TempDir) {
    this.#process = process;
    this.#directory = directory;
  }

  /** Starts HAProxy with these sections. It forwards TCP by default. */
  static haproxy(config: string): Promise<Proxy> {
    return Proxy.#start("haproxy", (file) => ["-W", "-db", "-f", file], {
      config: `
        defaults
          mode tcp
          timeout connect 5s
          timeout client 1m
          timeout server 1m
          timeout check 5s
          ${config}
      `,
      // Everything is bound by then.
      ready: /Loading success/,
    });
  }

  /** Starts nginx with these servers in its stream module. */
  static nginx(servers: string): Promise<Proxy> {
    return Proxy.#nginx(nginxStream().load, `stream { ${servers} }`);
  }

  /** Starts nginx with these servers for HTTP. */
  static nginxHttp(servers: string): Promise<Proxy> {
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${name};`);
    return Proxy.#nginx(
      "",
      `http {
        access_log off;
        ${paths.join("\n")}
        ${servers}
      }`,
    );
  }

  static #nginx(modules: string, servers: string): Promise<Proxy> {
    const args = (
      file: string,
      directory: string,
    ) => ["-e", "stderr", "-p", directory, "-c", file];
    return Proxy.#start("nginx", args, {
      config: `
        ${modules}
        daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr notice;
        events { worker_connections 64; }
        ${servers}
      `,
      ready: /using the "\w+" event method/,
    });
  }

  static async #start(
    program: string,
    args: (file: string, directory: string) => string[],
    { config, ready }: { config: string; ready: RegExp },
  ): Promise<Proxy> {
    const directory = new TempDir();
    const file = `${directory.path}/${program}.conf`;
    await Deno.writeTextFile(file, `${config}\n`);
    const process = new Process(program, args(file, directory.path));
    const proxy = new Proxy(process, directory);
    try {
      await process.errorLine(ready);
      return proxy;
    } catch (error) {
      await proxy[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The next line that the proxy writes to stderr and that matches. */
  errorLine(pattern: RegExp): Promise<string> {
    return this.#process.errorLine(pattern);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}

/** Whether nginx or its stream module is not installed, for a test's `ignore`. */
export function missingNginxStream(): boolean {
  if (missing("nginx")) return true;
  return !nginxStream().isThere && leaveOut("nginx has no stream module");
}

/** The stream module: part of nginx, or a file that the configuration loads. */
function nginxStream(): { isThere: boolean; load: string } {
  const { stderr } = new Deno.Command("nginx", { args: ["-V"] }).outputSync();
  const text = new TextDecoder().decode(stderr);
  if (/--with-stream(?!\S)/.test(text)) return { isThere: true, load: "" };
  const modules = /--modules-path=(\S+)/.exec(text)?.[1];
  const file = `${modules}/ngx_stream_module.so`;
  try {
    return {
      isThere: Deno.statSync(file).isFile,
      load: `load_module ${file};`,
    };
  } catch {
    return { isThere: false, load: "" };
  }
}

/** A listener that takes connections from a proxy on 127.0.0.1 only. */
export function listenBehindProxy(): ConnListener {
  return listen({
    hostname: "127.0.0.1",
    port: 0,
    proxyProtocol: (proxy) => proxy.hostname === "127.0.0.1",
  });
}

/** The next connection, which must have the addresses of this client of the proxy. */
export async function acceptFrom(
  listener: ConnListener,
  client: Deno.TcpConn,
): Promise<Deno.TcpConn> {
  const conn = await listener.accept();
  const { proxy } = proxyHeader(conn)!;
  assertEquals(conn.remoteAddr, client.localAddr);
  assertEquals(conn.localAddr, client.remoteAddr);
  assertEquals(proxy.hostname, "127.0.0.1");
  assertNotEquals(proxy.port, client.localAddr.port);
  return conn;
}

/** What the client sends comes in, after the header, and the answer goes back. */
export async function assertEchoes(
  conn: Deno.TcpConn,
  client: Deno.TcpConn,
): Promise<void> {
  const answer = roundTrip(client, "hello");
  const buffer = new Uint8Array(64);
  const length = await conn.read(buffer);
  assertEquals(new TextDecoder().decode(buffer.subarray(0, length!)), "hello");
  await writeAll(conn, buffer.subarray(0, length!));
  assertEquals(await answer, "hello");
}
