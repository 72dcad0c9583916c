/** The class: around a socket that is there already, as a base class, and printed. */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  type AcceptErrorCallback,
  type ConnectionCallback,
  ConnListener,
  listen,
  listenTls,
  type ShutdownOptions,
} from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { runProgram } from "../helpers/program.ts";
import { StandIn } from "../helpers/stand_in.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const hello = (conn: Deno.Conn) =>
  conn.write(new TextEncoder().encode("hello"));

Deno.test("setCallback() takes undefined for null", async () => {
  await using listener = listen(LOCAL, () => assert(false, "not the old one"));
  listener.setCallback(undefined as never);
  using client = await connect(listener);
  const answer = readAll(client);
  await until(() => listener.stats.accepted === 1);
  listener.setCallback(hello);
  assertEquals(await answer, "hello");
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("setErrorCallback() takes undefined for null", async () => {
  const { code, stderr } = await runProgram(`
    const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accept = socket.accept.bind(socket);
    const errors = [Object.assign(new Error("none left"), { code: "EMFILE" })];
    socket.accept = () =>
      errors.length > 0 ? Promise.reject(errors.pop()) : accept();
    const listener = new evconn.ConnListener(socket);
    listener.setErrorCallback(undefined);
    const accepted = listener.accept();
    using client = await Deno.connect(listener.addr);
    using conn = await accepted;
    await listener.close();`);
  assertEquals(code, 0, stderr);
  assertMatch(stderr, /^Cannot accept on .*, trying again: EMFILE$/);
});

for (const option of ["noDelay", "keepAlive"] as const) {
  Deno.test(`ConnListener() refuses ${option} for a TLS socket that was detached with an accept in flight`, async () => {
    const listener = listenTls({ ...LOCAL, ...CERTIFICATE }, () => {});
    using socket = listener.detach();
    assertThrows(
      () => new ConnListener(socket, { [option]: true }),
      Deno.errors.NotSupported,
      `'${option}' is not supported with TLS`,
    );
    await listener.finished;
  });

  Deno.test(`ConnListener() passes over a client on whose connection ${option} fails`, async () => {
    const told: unknown[] = [];
    const socket = new Failing(option);
    await using listener = new ConnListener(socket, {
      [option]: true,
      onAcceptError: (error) => void told.push(error),
      onConnectionError: (error) => void told.push(error),
    }, hello);
    using gone = await connect(listener);
    assert(await isClosed(gone));
    assertEquals(await readAll(await connect(listener)), "hello");
    assertEquals(told, []);
    const { aborted, accepted, connectionErrors } = listener.stats;
    assertEquals([aborted, accepted, connectionErrors], [1, 2, 0]);
  });
}

/** The first connection fails as one does that its client has reset. */
class Failing extends StandIn {
  readonly #option: "noDelay" | "keepAlive";

  constructor(option: "noDelay" | "keepAlive") {
    super(() => undefined);
    this.#option = option;
  }

  override async accept(): Promise<Deno.TcpConn> {
    const conn = await super.accept();
    if (this.calls > 1) return conn;
    const fail = () => {
      throw new Deno.errors.NotConnected("The client has reset it");
    };
    if (this.#option === "noDelay") conn.setNoDelay = fail;
    else conn.setKeepAlive = fail;
    return conn;
  }
}

Deno.test("console.log() prints a ConnListener in one line, and its prototype", async () => {
  await using listener = new ConnListener(Deno.listen(LOCAL));
  assertMatch(Deno.inspect(listener), /^ConnListener \{.*"listening".*\}$/);
  assertEquals(Deno.inspect(ConnListener.prototype), "ConnListener {}");
});

/** Overrides what it can, and has a field that is there only after `super()`. */
class Counting extends ConnListener {
  #calls = 0;

  get calls(): number {
    return this.#calls;
  }

  override get holds(): readonly string[] {
    this.#calls++;
    return super.holds;
  }

  override get stats() {
    this.#calls++;
    return super.stats;
  }

  override get finished(): Promise<void> {
    this.#calls++;
    return super.finished;
  }

  override setCallback<D = undefined>(
    callback: ConnectionCallback<Deno.TcpConn, D> | null,
    ...data: undefined extends D ? [data?: D] : [data: D]
  ): void {
    this.#calls++;
    super.setCallback<D>(callback, ...data);
  }

  override setErrorCallback(
    callback: AcceptErrorCallback<Deno.TcpConn, unknown> | null,
  ): void {
    this.#calls++;
    super.setErrorCallback(callback);
  }

  override pause(): void {
    this.#calls++;
    super.pause();
  }

  override close(): Promise<void> {
    this.#calls++;
    return super.close();
  }

  override shutdown(options: ShutdownOptions = {}) {
    this.#calls++;
    return super.shutdown(options);
  }
}

Deno.test("ConnListener() can be derived from, whatever is overridden", async () => {
  const socket = Deno.listen(LOCAL);
  const options = { onAcceptError: () => {} };
  await using listener = new Counting(socket, options, hello);
  assertEquals(await readAll(await connect(listener)), "hello");
  const { calls } = listener;
  listener.setCallback(null);
  assertEquals(listener.calls, calls + 1);
});

Deno.test("ConnListener() can be derived from when there is a signal", async () => {
  const controller = new AbortController();
  using socket = Deno.listen(LOCAL);
  const listener = new Counting(socket, { signal: controller.signal });
  controller.abort();
  await listener.finished;
});

Deno.test("ConnListener() can be derived from when its signal is aborted already", async () => {
  using socket = Deno.listen(LOCAL);
  const listener = new Counting(socket, { signal: AbortSignal.abort() });
  await listener.finished;
  assertEquals(listener.state, "closed");
});

Deno.test("ConnListener() can be derived from when its socket is closed already", async () => {
  const socket = Deno.listen(LOCAL);
  socket.close();
  const listener = new Counting(socket, {}, hello);
  await listener.finished;
  assertEquals(listener.state, "closed");
});
