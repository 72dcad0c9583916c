/** What Deno takes early for signals, and that a program does not notice it. */
import { assert, assertEquals } from "@std/assert";
import { takeSignalDescriptors } from "../../internal/util/signal_descriptors.ts";
import { runProgram } from "../helpers/program.ts";
import { WAITS_FOR_SIGNALS } from "../helpers/this_deno.ts";

const SIGURG = 1n << 22n;
const BIND = `{ hostname: "127.0.0.1", port: 0 }`;
const DENO_LISTENS = `const listener = Deno.listen(${BIND});`;
const EVCONN_LISTENS = `const listener = evconn.listen(${BIND}, () => {});`;

/** Waits in a program until Deno itself waits for SIGUSR1, where it does. */
const UNTIL_DENO_WAITS = `
const masks = () => {
  const args = ["^Sig[IC]", "/proc/" + Deno.pid + "/status"];
  const { stdout } = new Deno.Command("grep", { args }).outputSync();
  const [, ignored, caught] = new TextDecoder().decode(stdout)
    .match(/SigIgn:\\s*(\\w+)\\s+SigCgt:\\s*(\\w+)/);
  return [BigInt("0x" + ignored), BigInt("0x" + caught)];
};
while (${WAITS_FOR_SIGNALS} && (masks()[1] & 1n << 9n) === 0n) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}`;

// The first call is the one that does it, so this test comes first. No event loop
// turns in it: what is begun must be over when it ends.
Deno.test("takeSignalDescriptors() leaves nothing behind", () => {
  takeSignalDescriptors();
});

for (const signal of ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR2"]) {
  Deno.test({
    name: `listen() leaves to ${signal} what it does`,
    ignore: Deno.build.os === "windows",
    async fn() {
      const end = `
        Deno.kill(Deno.pid, "${signal}");
        setTimeout(() => Deno.exit(), 60_000);`;
      const bare = await runProgram(DENO_LISTENS + end, "--allow-run");
      const ours = await runProgram(EVCONN_LISTENS + end, "--allow-run");
      assert(bare.code > 128, `it has ended by a signal: ${bare.code}`);
      assertEquals(ours, bare);
    },
  });
}

Deno.test({
  name: "listen() ignores and handles the signals that Deno does, and SIGURG",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const print = `
      ${UNTIL_DENO_WAITS}
      console.log(masks().join(" "));
      Deno.exit();`;
    const [bare, ours] = await Promise.all(
      [DENO_LISTENS, EVCONN_LISTENS].map(async (listens) => {
        const program = listens + print;
        const { stdout, stderr } = await runProgram(
          program,
          "--allow-run=grep",
        );
        assertEquals(stderr, "");
        return stdout.split(" ").map(BigInt);
      }),
    );
    assertEquals(ours, [
      bare![0],
      bare![1]! | (WAITS_FOR_SIGNALS ? SIGURG : 0n),
    ]);
  },
});

Deno.test({
  name: "listen() lets a program listen for SIGURG, and ignore it",
  ignore: Deno.build.os === "windows",
  async fn() {
    const { code, stdout, stderr } = await runProgram(
      `
      const told = [];
      let again = Promise.withResolvers();
      const first = () => again.resolve(told.push("first"));
      const second = () => again.resolve(told.push("second"));
      const send = async () => {
        again = Promise.withResolvers();
        Deno.kill(Deno.pid, "SIGURG");
        await again.promise;
      };
      Deno.addSignalListener("SIGURG", first);
      ${EVCONN_LISTENS}
      await send();
      Deno.removeSignalListener("SIGURG", first);
      Deno.kill(Deno.pid, "SIGURG"); // nobody listens
      Deno.addSignalListener("SIGURG", second);
      await send();
      console.log(told.filter((name, i) => name !== told[i - 1]).join());
      Deno.exit();`,
      "--allow-run",
    );
    assertEquals([code, stdout, stderr], [0, "first,second", ""]);
  },
});

Deno.test("listen() needs no permission but that for the network, and lets the process end", async () => {
  const { code, stdout, stderr } = await runProgram(
    `${EVCONN_LISTENS} await listener.close();`,
    "--no-prompt",
    "--deny-sys",
    "--deny-run",
    "--deny-env",
  );
  assertEquals([code, stdout, stderr], [0, "", ""]);
});
