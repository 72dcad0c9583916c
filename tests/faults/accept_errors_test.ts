/** Every error of accept(2), as the system and Deno give it: a peer's, or the listener's own. */
import { assertEquals } from "@std/assert";
import { AcceptFaults, noAcceptFaults } from "../helpers/accept_faults.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const MOD = import.meta.resolve("../../mod.ts");
const CERTIFICATE = import.meta.resolve("../helpers/certificate.ts");
const FAILURES = 2;

/**
 * Errors that are pending on the connection. EAGAIN and EINTR are not here: the one is
 * none for Deno, and a socket that does not block has no other.
 */
const PEER_GONE = [
  "ECONNABORTED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENONET",
  "ENOPROTOOPT",
  "ENOTCONN",
  "EOPNOTSUPP",
  "EPERM",
  "EPROTO",
  "ETIMEDOUT",
];

/** The others, and the `code` that the hook is told, if it is one. */
const LISTENERS_OWN: Record<string, string | null> = {
  EMFILE: "EMFILE",
  ENFILE: "ENFILE",
  ENOBUFS: "ENOBUFS",
  ENOMEM: "ENOMEM",
  EACCES: "EACCES",
  EBADF: "EBADF",
  EINVAL: "EINVAL",
  EIO: "EIO",
  ENOSR: null, // neither Deno nor the library has a name for it
};

/** Listens on every transport, is its own client, and prints what has come of it. */
const PROGRAM = `
import { listen, listenTls } from ${JSON.stringify(MOD)};
import { CERTIFICATE } from ${JSON.stringify(CERTIFICATE)};

const [path] = Deno.args;
const bind = { hostname: "127.0.0.1", port: 0 };
const hello = (conn) => conn.write(new TextEncoder().encode("hello"));
let told = [];
const onAcceptError = ({ code }) => told.push(code ?? null);

const listeners = [
  [listen({ ...bind, onAcceptError }, hello), Deno.connect],
  [listen({ transport: "unix", path, onAcceptError }, hello), Deno.connect],
  [listenTls({ ...bind, ...CERTIFICATE, onAcceptError }, hello), ({ port }) =>
    Deno.connectTls({ hostname: "localhost", port, caCerts: [CERTIFICATE.cert] })],
];
for (const [listener, connect] of listeners) {
  told = [];
  const conn = await connect(listener.addr);
  const text = await new Response(conn.readable).text();
  const { aborted, acceptErrors } = listener.stats;
  console.log(JSON.stringify({ text, aborted, acceptErrors, told }));
}
Deno.exit();`;

interface Outcome {
  aborted: number;
  acceptErrors: number;
  told: unknown[];
}

async function assertOutcome(error: string, outcome: Outcome): Promise<void> {
  await using dir = new TempDir();
  await using faults = await AcceptFaults.compile();
  const args = ["eval", PROGRAM, `${dir.path}/socket`];
  await using program = faults.start(error, FAILURES, args);
  for (const transport of ["TCP", "Unix", "TLS"]) {
    const { text, ...rest } = JSON.parse(await program.line());
    assertEquals([transport, text, rest], [transport, "hello", outcome]);
  }
}

const ignore = noAcceptFaults();

for (const error of PEER_GONE) {
  Deno.test({
    name: `listen() passes over ${error} of accept(2) in silence`,
    ignore,
    fn: () =>
      assertOutcome(error, { aborted: FAILURES, acceptErrors: 0, told: [] }),
  });
}

for (const [error, code] of Object.entries(LISTENERS_OWN)) {
  Deno.test({
    name: `listen() tells the hook of ${error} of accept(2), and goes on`,
    ignore,
    fn: () =>
      assertOutcome(error, {
        aborted: 0,
        acceptErrors: FAILURES,
        told: Array(FAILURES).fill(code),
      }),
  });
}
