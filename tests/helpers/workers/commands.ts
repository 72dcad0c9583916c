/** A worker that does what its clients say, line by line. */
import { serveParallel } from "@evconn/listener/parallel";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** What is given to the workers: a flag that ends a loop, and something to tell. */
export interface Data {
  stop: SharedArrayBuffer;
  text: string;
}

/** So that one can be told from another. */
const id = crypto.randomUUID();

serveParallel<Data>(async (conn, listener, { stop, text }) => {
  const flag = new Int32Array(stop);
  const buffer = new Uint8Array(1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    const [command, argument = ""] = decoder.decode(buffer.subarray(0, length))
      .split(" ", 2);
    switch (command) {
      case "data":
        await conn.write(encoder.encode(text));
        break;
      case "throw":
        setTimeout(() => {
          throw new Deno.errors.InvalidData("thrown in a worker");
        });
        break;
      case "reject":
        Promise.reject(new TypeError("rejected in a worker"));
        break;
      case "exit":
        Deno.exit();
        break;
      case "self.close":
        self.close();
        break;
      case "close":
        await listener.close();
        return; // its connections end with their callbacks
      case "detach":
        listener.detach();
        return;
      case "pause":
        listener.pause();
        await conn.write(encoder.encode("paused"));
        break;
      case "post":
        (self as unknown as Worker).postMessage(JSON.parse(argument));
        await conn.write(encoder.encode("posted"));
        break;
      case "block":
        await conn.write(encoder.encode("blocked"));
        while (Atomics.load(flag, 0) === 0);
        break;
      default:
        await conn.write(encoder.encode(id));
    }
  }
});
