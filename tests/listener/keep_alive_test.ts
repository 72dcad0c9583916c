/** What keeps the process alive, and what lets it end. */
import { assertEquals } from "@std/assert";
import { runProgram } from "../helpers/program.ts";

/** How long a program must stay, in ms, to be alive. It takes as long on any machine. */
const STAYS = 50;
/** How long a program may take to its end, in ms: only a test that fails takes so long. */
const ENDS = 30_000;

/** A test of whether a program goes on when it has come to its end. */
function testAlive(name: string, isAlive: boolean, program: string): void {
  const does = isAlive ? "keeps the process alive" : "lets the process end";
  Deno.test(`${name} ${does}`, async () => {
    const { code, stdout, stderr } = await runProgram(`
      const where = { hostname: "127.0.0.1", port: 0 };
      const until = async (condition) => {
        while (!condition()) await new Promise((next) => setTimeout(next, 1));
      };
      ${program}
      Deno.unrefTimer(setTimeout(() => {
        console.log("alive");
        Deno.exit();
      }, ${isAlive ? STAYS : ENDS}));`);
    assertEquals([code, stdout, stderr], [0, isAlive ? "alive" : "", ""]);
  });
}

// With an accept in flight, and with none: they are handed over differently.
for (
  const [state, callback] of [["accepts", "() => {}"], ["is idle", "null"]]
) {
  for (const isAlive of [true, false]) {
    const verb = isAlive ? "ref" : "unref";
    const listener = `const listener = evconn.listen(where, ${callback});`;
    const detached = `${verb}() and detach() of a listener that ${state}`;

    testAlive(
      `accept() after ${detached}`,
      isAlive,
      `${listener}
      listener.${verb}();
      listener.detach().accept();`,
    );

    testAlive(
      `ConnListener() after ${detached}`,
      isAlive,
      `${listener}
      listener.${verb}();
      new evconn.ConnListener(listener.detach(), {}, () => {});`,
    );

    testAlive(
      `resume() of a ConnListener after ${detached}`,
      isAlive,
      `${listener}
      listener.${verb}();
      const next = new evconn.ConnListener(listener.detach(), {}, () => {});
      next.pause();
      next.resume();`,
    );

    testAlive(
      `${verb}() of the socket that detach() of a listener that ${state} gives`,
      isAlive,
      `${listener}
      const socket = listener.detach();
      socket.${verb}();
      socket.accept();`,
    );
  }
}

// Deno does not tell whether a socket was unref'd: what is adopted is taken as ref'd.
testAlive(
  "ConnListener() around an unref'd socket",
  true,
  `const socket = Deno.listen(where);
  socket.unref();
  new evconn.ConnListener(socket, {}, () => {});`,
);
testAlive(
  "resume() around an unref'd socket",
  true,
  `const socket = Deno.listen(where);
  socket.unref();
  const listener = new evconn.ConnListener(socket, {}, () => {});
  listener.pause();
  listener.resume();`,
);

/** What a client that says nothing is to a listener that waits for its first byte. */
const SILENT = `
  const flags = evconn.LEV_OPT_DEFERRED_ACCEPT;
  const listener = evconn.listen({ ...where, flags }, (conn) => {
    conn.read(new Uint8Array(1)).catch(() => {});
  });
  const client = await Deno.connect(listener.addr);
  await until(() => listener.stats.accepted === 1);`;

// What is in hand is this client, and the accept that is in flight.
testAlive(
  "a socket of which one of two in hand was taken",
  false,
  `${SILENT}
  const socket = listener.detach();
  (await socket.accept()).close();`,
);
testAlive(
  "a socket of which one of two in hand was taken and the other is awaited",
  true,
  `${SILENT}
  const socket = listener.detach();
  (await socket.accept()).close();
  socket.accept();`,
);
testAlive(
  "an unref'd socket of which one of two in hand was taken and the other is awaited",
  false,
  `${SILENT}
  listener.unref();
  const socket = listener.detach();
  (await socket.accept()).close();
  socket.accept();`,
);
testAlive(
  "a read from a connection that was in hand",
  true,
  `${SILENT}
  listener.unref();
  const conn = await listener.detach().accept();
  conn.read(new Uint8Array(1)).catch(() => {});`,
);

/** What may be done to a listener that waits for something. */
const VERBS: [string, boolean][] = [
  ["", true],
  ["unref", false],
  ["unref ref", true],
  ["pause", false],
  ["pause resume", true],
  ["pause unref resume", false],
  ["close", false],
  ["detach", false],
];
for (const [verbs, isAlive] of VERBS) {
  const calls = verbs.split(" ").filter((verb) => verb !== "");
  const program = calls.map((verb) => `listener.${verb}();`).join("\n");
  const after = calls.map((verb) => `${verb}()`).join(", ") || "nothing";

  testAlive(`a silent client, after ${after},`, isAlive, SILENT + program);

  testAlive(
    `the wait after a failed accept, after ${after},`,
    isAlive,
    `const { setTimeout: real } = globalThis;
    globalThis.setTimeout = (wake, ms) => real(wake, ms * 100_000); // far longer than the test
    const socket = Deno.listen(where);
    socket.accept = () => Promise.reject(new Error("none left"));
    const told = Promise.withResolvers();
    const onAcceptError = () => told.resolve();
    const listener = new evconn.ConnListener(socket, { onAcceptError }, () => {});
    await told.promise;
    globalThis.setTimeout = real;
    ${program}`,
  );
}

testAlive(
  "a silent client that comes after unref()",
  false,
  `const flags = evconn.LEV_OPT_DEFERRED_ACCEPT;
  const listener = evconn.listen({ ...where, flags }, () => {});
  listener.unref();
  const client = await Deno.connect(listener.addr);
  await until(() => listener.stats.accepted === 1);`,
);
testAlive(
  "a read from a connection that was delivered after unref()",
  true,
  `${SILENT}
  listener.unref();
  let isReading = false;
  listener.setCallback(async (conn) => {
    await conn.read(new Uint8Array(1)); // this one is there already
    isReading = true;
    await conn.read(new Uint8Array(1)).catch(() => {});
  });
  await client.write(new Uint8Array(1));
  await until(() => isReading);`,
);
