import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import {
  ConnListener,
  LEV_OPT_BIND_IPV4_AND_IPV6,
  LEV_OPT_BIND_IPV6ONLY,
  LEV_OPT_CLOSE_ON_EXEC,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_DISABLED,
  LEV_OPT_LEAVE_SOCKETS_BLOCKING,
  LEV_OPT_REUSEABLE,
  LEV_OPT_REUSEABLE_PORT,
  LEV_OPT_THREADSAFE,
  listen,
  listenTls,
} from "@evconn/listener";
import { connect } from "../helpers/clients.ts";
import { longestQueue, missingAddress } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import { runProgram } from "../helpers/program.ts";

type ErrorClass = new (message: string) => Error;
const LIMIT = "'maxConnections' must be a positive integer or Infinity";
const BACKLOG =
  "'tcpBacklog' must be a positive integer, or negative for the default";

/** What is wrong, the error that it gives, and what its message contains. */
const BAD_OPTIONS: [Record<string, unknown>, ErrorClass, string][] = [
  [{ maxConnections: 0 }, RangeError, `Cannot listen as ${LIMIT}: received 0`],
  [{ maxConnections: -1 }, RangeError, `${LIMIT}: received -1`],
  [{ maxConnections: 1.5 }, RangeError, `${LIMIT}: received 1.5`],
  [{ maxConnections: NaN }, RangeError, `${LIMIT}: received NaN`],
  [{ maxConnections: -Infinity }, RangeError, `${LIMIT}: received -Infinity`],
  [{ maxConnections: "5" }, TypeError, `${LIMIT}: received "5"`],
  [
    { overflow: "drop" },
    TypeError,
    `must be "queue" or "reject": received "drop"`,
  ],
  [{ noDelay: 1 }, TypeError, "'noDelay' must be a boolean: received 1"],
  [
    { keepAlive: "yes" },
    TypeError,
    `'keepAlive' must be a boolean: received "yes"`,
  ],
  [{ signal: {} }, TypeError, "'signal' must be an AbortSignal: received {}"],
  [
    { onAcceptError: 5 },
    TypeError,
    "'onAcceptError' must be a function: received 5",
  ],
  [
    { onConnectionError: "x" },
    TypeError,
    "'onConnectionError' must be a function",
  ],
  [{ flags: "1" }, TypeError, `'flags' must be a number: received "1"`],
  [
    { flags: 0.5 },
    RangeError,
    "'flags' must be a combination of LEV_OPT_*: received 0.5",
  ],
  [
    { flags: NaN },
    RangeError,
    "'flags' must be a combination of LEV_OPT_*: received NaN",
  ],
  [
    { flags: -1 },
    RangeError,
    "'flags' must be a combination of LEV_OPT_*: received -1",
  ],
  [
    { flags: 0x402 },
    RangeError,
    "'flags' has unknown bits 0x400: received 0x402",
  ],
  [{ flags: Symbol("x") }, TypeError, "must be a number: received Symbol(x)"],
  [{ flags: 2 ** 32 + 1 }, RangeError, "'flags' has unknown bits 0x100000000:"],
  [
    { flags: LEV_OPT_BIND_IPV6ONLY | LEV_OPT_BIND_IPV4_AND_IPV6 },
    TypeError,
    "LEV_OPT_BIND_IPV6ONLY and LEV_OPT_BIND_IPV4_AND_IPV6 exclude each other",
  ],
];

/** Wrong only where a socket is to be made. */
const BAD_BIND_OPTIONS: [Record<string, unknown>, ErrorClass, string][] = [
  [{ tcpBacklog: 0 }, RangeError, `Cannot listen as ${BACKLOG}: received 0`],
  [{ tcpBacklog: 1.5 }, RangeError, `${BACKLOG}: received 1.5`],
  [{ tcpBacklog: NaN }, RangeError, `${BACKLOG}: received NaN`],
  [{ tcpBacklog: 2 ** 31 }, RangeError, `${BACKLOG}: received 2147483648`],
  [{ tcpBacklog: "128" }, TypeError, `${BACKLOG}: received "128"`],
  [
    { transport: "udp" },
    TypeError,
    `must be "tcp", "unix" or "vsock": received "udp"`,
  ],
  [
    { flags: LEV_OPT_BIND_IPV6ONLY, hostname: "127.0.0.1" },
    TypeError,
    `LEV_OPT_BIND_IPV6ONLY needs an IPv6 address as 'hostname': received "127.0.0.1"`,
  ],
  [
    { flags: LEV_OPT_BIND_IPV6ONLY, hostname: "localhost" },
    TypeError,
    `received "localhost"`,
  ],
  [
    { flags: LEV_OPT_BIND_IPV6ONLY, hostname: "::ffff:127.0.0.1" },
    TypeError,
    "needs an IPv6 address",
  ],
  [
    { flags: LEV_OPT_BIND_IPV6ONLY },
    Deno.errors.NotSupported,
    "LEV_OPT_BIND_IPV6ONLY is not supported with '::'",
  ],
  [
    { flags: LEV_OPT_BIND_IPV6ONLY, hostname: "0:0::0" },
    Deno.errors.NotSupported,
    "LEV_OPT_BIND_IPV6ONLY is not supported with '::'",
  ],
  Deno.build.os === "windows"
    ? [
      { flags: LEV_OPT_BIND_IPV4_AND_IPV6 },
      Deno.errors.NotSupported,
      "LEV_OPT_BIND_IPV4_AND_IPV6 is not supported on Windows",
    ]
    : [
      { flags: LEV_OPT_BIND_IPV4_AND_IPV6, hostname: "0.0.0.0" },
      TypeError,
      `LEV_OPT_BIND_IPV4_AND_IPV6 needs an IPv6 address as 'hostname'`,
    ],
  [
    { transport: "unix", path: "/tmp/x", noDelay: true },
    Deno.errors.NotSupported,
    "'noDelay' is not supported with unix",
  ],
  ...[
    LEV_OPT_REUSEABLE,
    LEV_OPT_DEFERRED_ACCEPT,
    LEV_OPT_REUSEABLE_PORT,
    LEV_OPT_BIND_IPV4_AND_IPV6,
  ].map((flags): [Record<string, unknown>, ErrorClass, string] => [
    { transport: "unix", path: "/tmp/x", flags },
    TypeError,
    `is a flag of TCP: the transport is "unix"`,
  ]),
];

Deno.test("listen() refuses bad input before a socket is made", () => {
  const port = freePort();
  using _taken = Deno.listen({ port }); // a socket made would be AddrInUse
  for (
    const [options, errorClass, message] of [
      ...BAD_OPTIONS,
      ...BAD_BIND_OPTIONS,
    ]
  ) {
    assertThrows(
      () => listen({ port, ...options } as never),
      errorClass,
      message,
    );
  }
  for (const options of [undefined, null, 9876, "9876"]) {
    assertThrows(
      () => listen(options as never),
      TypeError,
      "Cannot listen as 'options' must be an object: received",
    );
  }
  assertThrows(
    () => listen({ port }, "callback" as never),
    TypeError,
    `Cannot listen as 'callback' must be a function: received "callback"`,
  );
});

Deno.test("listenTls() refuses the same, and what Deno does not have for TLS", () => {
  const tls = { port: 0, cert: "", key: "" };
  for (const [options, errorClass, message] of BAD_OPTIONS) {
    assertThrows(
      () => listenTls({ ...tls, ...options } as never),
      errorClass,
      message,
    );
  }
  assertThrows(
    () => listenTls({ ...tls, noDelay: true }),
    Deno.errors.NotSupported,
    "'noDelay' is not supported with TLS",
  );
});

Deno.test("ConnListener() refuses bad input and leaves the socket alone", async () => {
  using socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const [options, errorClass, message] of BAD_OPTIONS) {
    assertThrows(
      () => new ConnListener(socket, options as never),
      errorClass,
      message,
    );
  }
  const cert = await Deno.readTextFile("tests/testdata/localhost.crt");
  const key = await Deno.readTextFile("tests/testdata/localhost.key");
  assertThrows(
    () => new ConnListener(null as never),
    TypeError,
    "Cannot listen as 'socket' must be a Deno.Listener: received null",
  );
  using tlsSocket = Deno.listenTls({ port: 0, cert, key });
  assertThrows(
    () => new ConnListener(tlsSocket, { keepAlive: true }),
    Deno.errors.NotSupported,
    "'keepAlive' is not supported with TLS",
  );
  assertThrows(
    () => new ConnListener(socket, { flags: LEV_OPT_DEFERRED_ACCEPT }),
    TypeError,
    "LEV_OPT_DEFERRED_ACCEPT is not for an adopted socket",
  );
  // One that listen() has made is adopted, too, when it is detached.
  using detached = listen({ hostname: "127.0.0.1", port: 0 }).detach();
  assertThrows(
    () => new ConnListener(detached, { flags: LEV_OPT_DEFERRED_ACCEPT }),
    TypeError,
    "LEV_OPT_DEFERRED_ACCEPT is not for an adopted socket",
  );
  using client = await connect(socket);
  using conn = await socket.accept();
  assertEquals(conn.remoteAddr, client.localAddr);
});

Deno.test("the methods refuse bad input", async () => {
  await using listener = listen({ port: 0 });
  const limit = `Cannot change the limit as ${LIMIT}: received`;
  assertThrows(() => listener.maxConnections = 0, RangeError, limit);
  assertThrows(() => listener.maxConnections = "1" as never, TypeError, limit);
  assertEquals(listener.maxConnections, Infinity);
  assertThrows(
    () => listener.setCallback(1 as never),
    TypeError,
    "Cannot set the callback as 'callback' must be a function: received 1",
  );
  assertThrows(
    () => listener.setErrorCallback(1 as never),
    TypeError,
    "Cannot set the error callback as 'callback' must be a function: received 1",
  );
  const timeout = "Cannot shut down as 'timeout' must be";
  await assertRejects(
    () => listener.shutdown({ timeout: -1 }),
    RangeError,
    timeout,
  );
  await assertRejects(
    () => listener.shutdown({ timeout: NaN }),
    RangeError,
    timeout,
  );
  await assertRejects(
    () => listener.shutdown({ timeout: 2 ** 31 }),
    RangeError,
    timeout,
  );
  await assertRejects(
    () => listener.shutdown({ timeout: "1" as never }),
    TypeError,
    timeout,
  );
  assertEquals(listener.state, "listening");
});

Deno.test("listen() lets Deno's own errors through", async () => {
  await using listener = listen({ port: 0 });
  assertThrows(
    () => listen({ port: listener.addr.port }),
    Deno.errors.AddrInUse,
  );
  assertThrows(() => listen({ port: 65536 }), RangeError, "Invalid port");
});

Deno.test(
  "tcpBacklog is the length of the kernel's queue, and 4096 by default",
  {
    ignore: missing("ss"),
  },
  async () => {
    const longest = Math.min(4096, longestQueue());
    for (
      const [tcpBacklog, length] of [
        [7, 7],
        [-1, longest],
        [undefined, longest],
      ] as const
    ) {
      await using listener = listen(
        { hostname: "127.0.0.1", port: 0, ...(tcpBacklog && { tcpBacklog }) },
      );
      const filter = `sport = :${listener.addr.port}`;
      const { stdout } = await new Deno.Command("ss", {
        args: ["-Hltn", filter],
      }).output();
      const [, , shown] = new TextDecoder().decode(stdout).split(/\s+/);
      assertEquals(Number(shown), length);
    }
  },
);

Deno.test("listen() works with each flag that changes nothing", async () => {
  const flags = LEV_OPT_LEAVE_SOCKETS_BLOCKING | LEV_OPT_CLOSE_ON_FREE |
    LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE | LEV_OPT_THREADSAFE;
  await using listener = listen({ hostname: "127.0.0.1", port: 0, flags });
  assertEquals(listener.flags, flags);
  using _client = await connect(listener);
  (await listener.accept()).close();
});

Deno.test("LEV_OPT_DISABLED makes a paused listener", async () => {
  await using listener = listen({ port: 0, flags: LEV_OPT_DISABLED }, () => {});
  assertEquals(listener.state, "paused");
  assertEquals(listener.holds, ["paused"]);
});

const noIpv6 = missingAddress("::1");

Deno.test("LEV_OPT_BIND_IPV6ONLY works with a specific IPv6 address", {
  ignore: noIpv6,
}, async () => {
  for (const hostname of ["::1", "[::1]", "0:0:0:0:0:0:0:1"]) {
    await using listener = listen({
      hostname,
      port: 0,
      flags: LEV_OPT_BIND_IPV6ONLY,
    });
    assertEquals(listener.addr.hostname, "::1");
  }
});

Deno.test("LEV_OPT_BIND_IPV4_AND_IPV6 takes both on one socket", {
  ignore: noIpv6 || Deno.build.os === "windows",
}, async () => {
  await using listener = listen({ port: 0, flags: LEV_OPT_BIND_IPV4_AND_IPV6 });
  assertEquals(listener.addr.hostname, "::");
  for (const hostname of ["127.0.0.1", "::1"]) {
    using _client = await Deno.connect({ hostname, port: listener.addr.port });
    (await listener.accept()).close();
  }
});

const REUSE_PORT = `
const flags = evconn.LEV_OPT_REUSEABLE_PORT;
const options = [{ port: 0, flags }, { port: 0, reusePort: true }];
`;

Deno.test("LEV_OPT_REUSEABLE_PORT without --unstable-net throws, and names the flag", async () => {
  const { code, stdout } = await runProgram(`${REUSE_PORT}
    for (const option of options) {
      for (const make of [evconn.listen, evconn.listenTls]) {
        try {
          make({ cert: "", key: "", ...option });
        } catch (error) {
          console.log(error.name, error.message);
        }
      }
    }`);
  const line = "NotSupported Cannot listen as LEV_OPT_REUSEABLE_PORT " +
    "('reusePort') needs Deno's --unstable-net flag";
  assertEquals(stdout, Array(4).fill(line).join("\n"));
  assertEquals(code, 0);
});

Deno.test("LEV_OPT_REUSEABLE_PORT lets listeners share a port", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  const program = `${REUSE_PORT}
    for (const option of options) {
      const first = evconn.listen(option);
      const second = evconn.listen({ ...option, port: first.addr.port });
      console.log(first.addr.port === second.addr.port);
      await Promise.all([first.close(), second.close()]);
    }`;
  const { stdout, stderr } = await runProgram(program, "--unstable-net");
  assertEquals([stdout, stderr], ["true\ntrue", ""]);
});

Deno.test("listen() needs --allow-net and says so in Deno's words", async () => {
  const { stdout } = await runProgram(
    `try { evconn.listen({ port: 0 }) } catch (error) { console.log(error.name) }`,
    "--deny-net",
    "--no-prompt",
  );
  assertEquals(stdout, "NotCapable");
});
