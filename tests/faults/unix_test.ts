/** Unix sockets: files that are left behind, and files that are not ours. */
import { ConnListener, listen } from "@evconn/listener";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ask, echo, FAULTS, Program } from "../helpers/faults.ts";
import { runProgram } from "../helpers/program.ts";

const ignore = Deno.build.os === "windows";

async function inTempDir(fn: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await fn(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test({
  name: "listen() gives AddrInUse for a socket file that a killed process left",
  ignore,
  fn: () =>
    inTempDir(async (dir) => {
      const path = `${dir}/stale.sock`;
      {
        await using dead = Program.deno([FAULTS, "serve-unix", path]);
        await dead.lineAfter("path ");
        dead.kill("SIGKILL");
      }
      assert(Deno.statSync(path).isSocket);
      const options = { transport: "unix", path } as const;
      assertThrows(
        () => listen(options, echo),
        Deno.errors.AddrInUse,
        `Cannot listen on '${path}' as the file exists already: if no process listens on it any more, remove it first`,
      );
      assert(Deno.statSync(path).isSocket, "the file is its owner's to remove");

      // What there is to do about it.
      Deno.removeSync(path);
      await using _listener = listen(options, echo);
      assertEquals(await ask(options, "afterwards"), "afterwards");
    }),
});

Deno.test({
  name: "listen() removes no file that is in its way",
  ignore,
  fn: () =>
    inTempDir((dir) => {
      const path = `${dir}/precious`;
      Deno.writeTextFileSync(path, "data");
      assertThrows(
        () => listen({ transport: "unix", path }),
        Deno.errors.AddrInUse,
      );
      assertEquals(Deno.readTextFileSync(path), "data");
      return Promise.resolve();
    }),
});

Deno.test({
  name: "close() leaves alone a socket that has taken the path over",
  ignore,
  fn: () =>
    inTempDir(async (dir) => {
      const path = `${dir}/shared.sock`;
      const options = { transport: "unix", path } as const;
      const old = listen(options, echo);
      Deno.removeSync(path);
      await using _young = listen(options, echo);
      await old.close();
      assertEquals(await ask(options, "who is it?"), "who is it?");
      assertEquals([...Deno.readDirSync(dir)].length, 1);
    }),
});

Deno.test({
  name:
    "close() works with permissions for nothing but the path, and never prompts",
  ignore,
  fn: () =>
    inTempDir(async (dir) => {
      const path = `${dir}/narrow.sock`;
      const { code, stdout, stderr } = await runProgram(
        `const path = ${JSON.stringify(path)};
        const old = evconn.listen({ transport: "unix", path }, () => {});
        Deno.removeSync(path);
        const young = evconn.listen({ transport: "unix", path });
        await old.close();
        await young.close();
        console.log("closed");`,
        `--allow-read=${path}`,
        `--allow-write=${path}`,
      );
      assertEquals([code, stdout], [0, "closed"], stderr);
    }),
});

Deno.test({
  name: "detach() leaves the socket file in place",
  ignore,
  fn: () =>
    inTempDir(async (dir) => {
      const path = `${dir}/handed.sock`;
      const options = { transport: "unix", path } as const;
      const socket = listen(options, echo).detach();
      await using _next = new ConnListener(socket, {}, echo);
      assertEquals(await ask(options, "next"), "next");
    }),
});
