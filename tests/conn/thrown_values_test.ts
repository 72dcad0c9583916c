/** Whatever is thrown: no value ends the process, stops accepting, or keeps a place. */
import { assert, assertEquals } from "@std/assert";
import { listen } from "@evconn/listener";
import { connectAll, isClosed, until } from "../helpers/clients.ts";
import { runProgram } from "../helpers/program.ts";

/**
 * Values that throw when they are looked at. These run in another process, so they
 * use nothing that is outside of them.
 */
const VALUES: Record<string, () => unknown> = {
  "a revoked Proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  "an Error whose code throws": () =>
    Object.defineProperty(new Error(), "code", {
      get() {
        throw new Error("from code");
      },
    }),
  "an Error whose stack throws": () =>
    Object.defineProperty(new Error(), "stack", {
      get() {
        throw new Error("from stack");
      },
    }),
  "an object whose then throws": () => ({
    get then() {
      throw new Error("from then");
    },
  }),
  "an object whose Deno.customInspect throws": () => ({
    [Symbol.for("Deno.customInspect")]() {
      throw new Error("from customInspect");
    },
  }),
  "an object whose prototype throws": () =>
    new Proxy({}, {
      getPrototypeOf() {
        throw new Error("from getPrototypeOf");
      },
    }),
};

/**
 * Runs a program in which something goes wrong with a value, once with hooks that
 * throw it again and once without hooks. Each time, the listener must have a place
 * for the next client, and end.
 *
 * @param wrong Sets `callback` for the first client, or `socket.accept`.
 * @param isTold Whether it is the program's failure.
 */
async function assertGoesOn(
  value: () => unknown,
  wrong: string,
  isTold = true,
): Promise<void> {
  const { code, stdout, stderr } = await runProgram(`
    const value = (${value})();
    const hook = () => { console.log("told"); throw value; };
    for (const hooks of [{ onAcceptError: hook, onConnectionError: hook }, {}]) {
      const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const accept = socket.accept.bind(socket);
      const hello = (conn) => conn.write(new TextEncoder().encode("hello"));
      let callback = hello;
      ${wrong};
      const options = { ...hooks, maxConnections: 1 };
      const listener = new evconn.ConnListener(socket, options, (conn) => {
        const now = callback;
        callback = hello;
        return now(conn);
      });
      const first = await Deno.connect(socket.addr);
      const next = await Deno.connect(socket.addr);
      console.log(await new Response(next.readable).text());
      await listener.shutdown();
      const { active, connectionErrors, acceptErrors } = listener.stats;
      console.log(active, connectionErrors + acceptErrors);
      first.close();
    }`);
  const expected = isTold
    ? ["told", "hello", "0 1", "hello", "0 1"]
    : ["hello", "0 0", "hello", "0 0"];
  assertEquals([code, ...stdout.split("\n")], [0, ...expected], stderr);
}

for (const [name, value] of Object.entries(VALUES)) {
  Deno.test(`ConnListener() goes on when a callback throws ${name}`, () =>
    assertGoesOn(value, "callback = () => { throw value }"));

  Deno.test(`ConnListener() goes on when a callback rejects with ${name}`, () =>
    assertGoesOn(value, "callback = () => Promise.reject(value)"));

  Deno.test(`ConnListener() goes on when accepting fails with ${name}`, () =>
    assertGoesOn(
      value,
      `socket.accept = () => {
        socket.accept = accept;
        return Promise.reject(value);
      }`,
    ));
}

for (const name of ["a revoked Proxy", "an object whose then throws"]) {
  Deno.test(`ConnListener() goes on when a callback returns ${name}`, () =>
    assertGoesOn(VALUES[name]!, "callback = () => value"));
}

const thrown = () => new Error("from close()");
const CLOSINGS = {
  "close() and dispose throw":
    "conn.close = conn[Symbol.dispose] = () => { throw value }",
  "close and dispose cannot be read": `
    for (const key of ["close", Symbol.dispose]) {
      Object.defineProperty(conn, key, { get() { throw value } });
    }`,
};
for (const [name, spoil] of Object.entries(CLOSINGS)) {
  Deno.test(`ConnListener() goes on when a callback succeeds with a connection whose ${name}`, () =>
    assertGoesOn(thrown, `callback = async (conn) => { ${spoil} }`, false));

  Deno.test(`ConnListener() goes on when a callback fails with a connection whose ${name}`, () =>
    assertGoesOn(thrown, `callback = (conn) => { ${spoil}; throw value }`));
}

Deno.test("shutdown() cuts off the others when closing one connection throws", async () => {
  const conns: Deno.TcpConn[] = [];
  const listener = listen({ hostname: "127.0.0.1", port: 0 }, (conn) => {
    conns.push(conn);
    return new Promise(() => {});
  });
  const clients = await connectAll(listener, 2);
  await until(() => conns.length === 2);
  const spoiled = conns[0]!;
  const close = spoiled.close.bind(spoiled);
  using _closing = { [Symbol.dispose]: () => close() };
  spoiled.close = spoiled[Symbol.dispose] = () => {
    throw new Error("not closed");
  };
  const result = await listener.shutdown({ timeout: 0 });
  assertEquals(result, { completed: 0, aborted: 2 });
  assert(await isClosed(clients[1]!));
  for (const client of clients) client.close();
});
