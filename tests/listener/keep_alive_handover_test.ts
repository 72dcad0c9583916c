/** What keeps the process alive when connections go from one owner to the next. */
import { CERTIFICATE } from "../helpers/certificate.ts";
import { testAlive } from "../helpers/alive.ts";

/** A listener that is full of one silent client, and so has no accept in flight. */
const FULL = `
  const flags = evconn.LEV_OPT_DEFERRED_ACCEPT;
  const proxied = { proxyProtocol: true, maxConnections: 1 };
  const first = evconn.listen({ ...where, ...proxied, flags }, () => {});
  const client = await Deno.connect(first.addr);
  await until(() => first.stats.waiting === 1);
  await turns();`;
/** The next listener, which has that client inside. */
const ADOPTED = `${FULL}
  const listener = new evconn.ConnListener(first.detach(), proxied, (conn) => {
    conn.read(new Uint8Array(1)).catch(() => {});
  });
  await until(() => listener.stats.waiting === 1);`;
const HALF = `
  await client.write(new TextEncoder().encode("PROXY TCP4 192.0.2.1 192."));
  await turns();`;
const REST = `
  await client.write(new TextEncoder().encode("0.2.2 1 2\\r\\n"));
  await until(() => listener.stats.waiting === 0);
  await turns();`;

testAlive(
  "a client that is inside an adopted listener that is full",
  true,
  ADOPTED,
);
testAlive(
  "a client that is inside an adopted listener, after half a header,",
  true,
  ADOPTED + HALF,
);
for (const [name, rest] of [["", ""], [", after half a header,", HALF]]) {
  testAlive(
    `unref() of an adopted listener with a client inside${name}`,
    false,
    `${ADOPTED}
    listener.unref();
    ${rest}`,
  );
  testAlive(
    `pause() of an adopted listener with a client inside${name}`,
    false,
    `${ADOPTED}
    listener.pause();
    ${rest}`,
  );
  testAlive(
    `a client that is in nobody's hands${name}`,
    false,
    `${FULL}
    const socket = first.detach();
    ${rest}`,
  );
}
testAlive(
  "a read from a connection that was delivered by an unref'd adopted listener",
  true,
  `${ADOPTED}
  listener.unref();
  ${HALF}${REST}`,
);

const TAKEN = `${FULL}
  const socket = first.detach();
  socket.unref();
  const conn = await socket.accept();`;
const READ = `
  (async () => {
    while (await conn.read(new Uint8Array(100)) !== null);
  })().catch(() => {});`;
testAlive("a taken connection that nobody reads from", false, TAKEN);
testAlive("a read from a taken connection", true, TAKEN + READ);
for (const verbs of ["unref", "unref ref"]) {
  const calls = verbs.split(" ").map((verb) => `conn.${verb}();`).join(" ");
  const isAlive = verbs !== "unref";
  const what = verbs.split(" ").map((verb) => `${verb}()`).join(" and ");
  const pending = " of a taken connection whose early read is pending";
  testAlive(
    `${what}${pending}, once somebody reads,`,
    isAlive,
    TAKEN + calls + READ,
  );
  testAlive(
    `${what}${pending}, while somebody reads,`,
    isAlive,
    TAKEN + READ + calls,
  );
  testAlive(
    `${what}${pending}, after that has brought something,`,
    isAlive,
    TAKEN + calls + READ + HALF,
  );
  testAlive(
    `${what}${pending}, and has brought something before somebody reads,`,
    isAlive,
    TAKEN + calls + HALF + READ,
  );
}

testAlive(
  "unref() in a callback, of a connection that was read ahead,",
  false,
  `const flags = evconn.LEV_OPT_DEFERRED_ACCEPT;
  const listener = evconn.listen({ ...where, flags }, async (conn) => {
    conn.unref();
    while (await conn.read(new Uint8Array(1)) !== null);
  });
  const client = await Deno.connect(listener.addr);
  await client.write(new Uint8Array(2));
  await until(() => listener.stats.active === 1);
  await listener.close();`,
);

/** A TLS service with a client in it that never begins its handshake. */
const tls = (callback: string) => `
  const certificate = ${JSON.stringify(CERTIFICATE)};
  const listener = evconn.listenTls({ ...where, ...certificate }, ${callback});
  const client = await Deno.connect(listener.addr);
  await until(() => listener.stats.accepted === 1);
  await listener.close();`;
testAlive(
  "unref() in a callback, of a connection whose TLS handshake is open,",
  false,
  tls("(conn) => { conn.unref(); return conn.read(new Uint8Array(1)); }"),
);
testAlive(
  "a read from a connection whose TLS handshake is open",
  true,
  tls("(conn) => conn.read(new Uint8Array(1))"),
);
