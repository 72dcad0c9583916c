/** What clients of HTTP and WebSockets do to a server under test. */

/** Asks for a WebSocket. */
export const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: a",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
].join("\r\n") + "\r\n\r\n";

/** Sends some text. */
export async function send(conn: Deno.Conn, text: string): Promise<void> {
  await conn.write(new TextEncoder().encode(text));
}

/** Reads until this has come. */
export async function readUntil(conn: Deno.Conn, end: string): Promise<string> {
  const buffer = new Uint8Array(1024);
  let text = "";
  while (!text.includes(end)) {
    const length = await conn.read(buffer);
    if (length === null) throw new Error(`Closed after ${text}`);
    text += new TextDecoder().decode(buffer.subarray(0, length));
  }
  return text;
}

/** Asks on an open connection that stays open. */
export async function get(conn: Deno.Conn): Promise<void> {
  await send(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await readUntil(conn, "hello, 127.0.0.1\n");
}

/** Opens a WebSocket. */
export async function openSocket({ url }: { url: string }): Promise<WebSocket> {
  const socket = new WebSocket(url.replace("http:", "ws:"));
  socket.binaryType = "arraybuffer";
  await new Promise((resolve) => socket.onopen = resolve);
  return socket;
}

/** How a WebSocket ends. */
export function closing(socket: WebSocket): Promise<CloseEvent> {
  return new Promise((resolve) => socket.onclose = resolve);
}
