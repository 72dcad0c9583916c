/** What the types say of the data of a callback that is given to the constructor. */
import { assertEquals } from "@std/assert";
import { ConnListener } from "@evconn/listener";
import { connect, readAll } from "../helpers/clients.ts";

const say = async (conn: Deno.Conn, _: unknown, text: string) => {
  await conn.write(new TextEncoder().encode(text));
};

// Never called: it is tested by this file's being compiled.
function _constructor(socket: Deno.TcpListener) {
  new ConnListener(socket, {}, say, "data");
  new ConnListener(socket, {}, (conn) => conn.close());
  new ConnListener(socket, {}, null);
  // @ts-expect-error: the callback wants data
  new ConnListener(socket, {}, say);
  // @ts-expect-error: undefined is not what it wants
  new ConnListener(socket, {}, say, undefined);
}

Deno.test("ConnListener() gives its callback the data", async () => {
  const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using listener = new ConnListener(socket, {}, say, "data");
  assertEquals(await readAll(await connect(listener)), "data");
});
