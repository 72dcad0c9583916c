/** `Bun.listen` in several processes, each with a queue of its own (SO_REUSEPORT). */
import { newWork } from "./work.mjs";

const [count, us, port] = Bun.argv.slice(2).map(Number);

function serve() {
  const work = newWork(us);
  Bun.listen({
    hostname: "127.0.0.1",
    port,
    reusePort: true,
    socket: {
      data(socket) {
        work();
        socket.write("+PONG\r\n");
      },
    },
  });
}

function startAll() {
  const children = Array.from(
    { length: count },
    () =>
      Bun.spawn([process.execPath, ...Bun.argv.slice(1)], {
        env: { ...process.env, IS_CHILD: "1" },
        stdout: "inherit",
        stderr: "inherit",
      }),
  );
  process.on("SIGTERM", () => {
    for (const child of children) child.kill("SIGKILL");
    process.exit();
  });
}

if (process.env.IS_CHILD) serve();
else startAll();
