/** When a service keeps the process alive: programs that end, or do not. */
import { assertEquals } from "@std/assert";
import { runProgram } from "../helpers/program.ts";

const module = JSON.stringify(import.meta.resolve("../../parallel.ts"));

/** Runs a program around an echo service. It says what it does until its end. */
function run(program: string) {
  return runProgram(
    `
    import { listenParallel } from ${module};
    const worker = \`
      import { serveParallel } from ${module};
      serveParallel(async (conn) => {
        const buffer = new Uint8Array(1);
        while (await conn.read(buffer) !== null) await conn.write(buffer);
        await new Promise((resolve) => setTimeout(resolve, 100));
      });\`;
    const type = "text/javascript";
    const service = await listenParallel(
      URL.createObjectURL(new Blob([worker], { type })),
      { hostname: "127.0.0.1", port: 0, workers: 2 },
    );
    const connect = async () => {
      const client = await Deno.connect(service.addr);
      await client.write(new Uint8Array(1));
      await client.read(new Uint8Array(1));
      return client;
    };
    addEventListener("unload", () => console.log("ends"));
    ${program}
    `,
    "--allow-read",
  );
}

Deno.test("a service that was unref'd keeps no process alive", async () => {
  const { code, stdout, stderr } = await run(`
    service.unref();
    console.log(service.state);
  `);
  assertEquals([code, stdout, stderr], [0, "listening\nends", ""]);
});

Deno.test("nor does a paused one, until it goes on", async () => {
  const { stdout, stderr } = await run(`
    await service.pause();
    await service.resume();
    setTimeout(async () => {
      await service.pause();
      console.log(service.state);
    }, 100);
    Deno.unrefTimer(setTimeout(() => {}, 2 ** 30));
  `);
  assertEquals([stdout, stderr], ["paused\nends", ""]);
});

Deno.test("a service keeps the process alive, also after ref() and resume()", async () => {
  for (
    const again of [
      "",
      "service.unref(); service.ref();",
      "await service.pause(); await service.resume();",
      "service.unref(); await service.restart(); service.ref();",
    ]
  ) {
    const { stdout, stderr } = await run(`
      ${again}
      // Nothing else keeps it alive until then.
      Deno.unrefTimer(setTimeout(() => {
        console.log("is there");
        service.unref();
      }, 300));
    `);
    assertEquals([stdout, stderr], ["is there\nends", ""], again);
  }
});

for (const verb of ["unref()", "pause()"]) {
  Deno.test(`active connections keep the process alive after ${verb}`, async () => {
    const { stdout, stderr } = await run(`
      const client = await connect();
      await service.${verb};
      // The callback goes on for a while after its client has gone.
      client.close();
      Deno.unrefTimer(setTimeout(() => console.log("is there"), 50));
    `);
    assertEquals([stdout, stderr], ["is there\nends", ""]);
  });
}

Deno.test("a connection that comes after unref() keeps the process alive", async () => {
  const { stdout, stderr } = await run(`
    service.unref();
    const client = await connect();
    await service.stats();
    client.close();
    Deno.unrefTimer(setTimeout(() => console.log("is there"), 50));
  `);
  assertEquals([stdout, stderr], ["is there\nends", ""]);
});

Deno.test("a restart of an unref'd service is one, too", async () => {
  const { stdout, stderr } = await run(`
    service.unref();
    await service.restart();
    const client = await connect();
    console.log("restarted");
    client.close();
  `);
  assertEquals([stdout, stderr], ["restarted\nends", ""]);
});
