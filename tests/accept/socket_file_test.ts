/** The path of a Unix socket, and whose file is there. */
import {
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { ConnListener, listen } from "@evconn/listener";
import { ask, echo } from "../helpers/faults.ts";
import { fewDescriptors } from "../helpers/machine.ts";
import { runProgram } from "../helpers/program.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { REMOVES_UNIX_FILES } from "../helpers/this_deno.ts";

const ignore = Deno.build.os === "windows";

Deno.test(
  "listen() gives AddrInUse with Deno's words and what to do for a path that is taken",
  {
    ignore,
  },
  async () => {
    await using dir = new TempDir();
    const options = { transport: "unix", path: `${dir.path}/a.sock` } as const;
    using _taken = Deno.listen(options);
    const { AddrInUse } = Deno.errors;
    const { message } = assertThrows(() => Deno.listen(options), AddrInUse);
    const error = assertThrows(() => listen(options), AddrInUse);
    assertStringIncludes(error.message, message);
    assertStringIncludes(error.message, options.path);
    assertStringIncludes(error.message, "remove it first");
  },
);

/** Makes a socket, and lets somebody else have its path. */
function makeAndLose(path: string): Deno.UnixListener {
  const socket = Deno.listen({ transport: "unix", path });
  Deno.removeSync(path);
  return socket;
}

for (const state of ["accepts", "is idle"]) {
  const close = (socket: Deno.UnixListener) =>
    new ConnListener(socket, {}, state === "accepts" ? echo : null).close();

  Deno.test(
    `close() leaves alone who has taken the path of an adopted socket that ${state}`,
    {
      ignore,
    },
    async () => {
      await using dir = new TempDir();
      const options = {
        transport: "unix",
        path: `${dir.path}/a.sock`,
      } as const;
      const socket = makeAndLose(options.path);
      await using _young = listen(options, echo);
      await close(socket);
      assertEquals(await ask(options, "who is it?"), "who is it?");
      assertEquals(dir.names, ["a.sock"]);
    },
  );

  Deno.test(
    `close() leaves alone a file at the path of an adopted socket that ${state}`,
    {
      ignore,
    },
    async () => {
      await using dir = new TempDir();
      const path = `${dir.path}/a.sock`;
      const socket = makeAndLose(path);
      Deno.writeTextFileSync(path, "precious");
      await close(socket);
      assertEquals(Deno.readTextFileSync(path), "precious");
      assertEquals(dir.names, ["a.sock"]);
    },
  );

  Deno.test(`close() removes the file of an adopted socket that ${state}`, {
    ignore: !REMOVES_UNIX_FILES,
  }, async () => {
    await using dir = new TempDir();
    const path = `${dir.path}/a.sock`;
    await close(Deno.listen({ transport: "unix", path }));
    assertEquals(dir.names, []);
  });
}

Deno.test(
  "close() leaves alone who has taken the path of an adopted socket and is too busy to answer",
  {
    // The queue is as long as Deno asks, and both ends of each connection are here.
    ignore: Deno.build.os !== "linux" || fewDescriptors(1200),
  },
  async () => {
    await using dir = new TempDir();
    const options = { transport: "unix", path: `${dir.path}/a.sock` } as const;
    const socket = makeAndLose(options.path);
    using _busy = Deno.listen(options);
    const clients: Deno.UnixConn[] = [];
    await assertRejects(async () => {
      for (;;) clients.push(await Deno.connect(options)); // until the queue is full
    }, Deno.errors.WouldBlock);
    await new ConnListener(socket).close();
    assertEquals(dir.names, ["a.sock"]);
    for (const client of clients) client.close();
  },
);

Deno.test(
  "close() leaves alone who has taken the path of a socket that was detached and adopted again",
  {
    ignore,
  },
  async () => {
    await using dir = new TempDir();
    const options = { transport: "unix", path: `${dir.path}/a.sock` } as const;
    const old = new ConnListener(listen(options).detach());
    Deno.removeSync(options.path);
    await using _young = listen(options, echo);
    await old.close();
    assertEquals(await ask(options, "who is it?"), "who is it?");
    assertEquals(dir.names, ["a.sock"]);
  },
);

Deno.test(
  "close() removes the file of an adopted socket where connecting is not allowed",
  {
    ignore: !REMOVES_UNIX_FILES,
  },
  async () => {
    await using dir = new TempDir();
    const { code, stderr } = await runProgram(
      `const path = ${JSON.stringify(dir.path)} + "/a.sock";
      const socket = Deno.listen({ transport: "unix", path });
      Deno.permissions.revokeSync({ name: "net" });
      await new evconn.ConnListener(socket).close();`,
      "--allow-read",
      "--allow-write",
      "--no-prompt",
    );
    assertEquals([code, stderr, dir.names], [0, "", []]);
  },
);

Deno.test("close() resolves although it cannot remove what it has put aside", {
  ignore,
}, async () => {
  await using dir = new TempDir();
  const { code, stdout, stderr } = await runProgram(
    `const dir = ${JSON.stringify(dir.path)};
    const path = dir + "/a.sock";
    const old = evconn.listen({ transport: "unix", path });
    Deno.removeSync(path);
    Deno.writeTextFileSync(path, "of another");
    const closed = old.close();
    // Before the file is put back, its second name becomes a directory that is not
    // empty, and its first is taken again.
    const aside = [...Deno.readDirSync(dir)].find(({ name }) => name !== "a.sock");
    Deno.removeSync(dir + "/" + aside.name);
    Deno.mkdirSync(dir + "/" + aside.name + "/full", { recursive: true });
    Deno.writeTextFileSync(path, "of a third");
    await closed;
    await old.finished;
    console.log(Deno.readTextFileSync(path));`,
    "--allow-read",
    "--allow-write",
  );
  assertEquals([code, stdout], [0, "of a third"], stderr);
  assertStringIncludes(stderr, `Cannot remove ${dir.path}/a.sock.`);
});
