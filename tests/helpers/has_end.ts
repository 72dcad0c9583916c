import { readAll, until } from "./clients.ts";

/** Waits for a client's end, and fails if there is none: then nobody closes its connection. */
export async function hasEnd(client: Deno.Conn): Promise<void> {
  let isOver = false;
  const end = readAll(client).catch(() => {}).finally(() => isOver = true);
  await until(() => isOver, "the client's end");
  await end;
}
