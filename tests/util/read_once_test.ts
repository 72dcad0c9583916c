/** Options that are read once: `readOnce()` of internal/settings.ts. */
import { assertEquals } from "@std/assert";
import { readOnce } from "../../internal/settings.ts";

Deno.test("readOnce() gives an object that can be copied, with what was given and what is set", () => {
  const options = readOnce({ port: 0, hostname: "::1", tcpBacklog: null });
  assertEquals({ ...options } as unknown, {
    port: 0,
    hostname: "::1",
    tcpBacklog: undefined,
  });
  Object.assign(options, { port: 5, reusePort: true });
  assertEquals({ ...options } as unknown, {
    port: 5,
    hostname: "::1",
    tcpBacklog: undefined,
    reusePort: true,
  });
  assertEquals(Object.keys(options).length, 4);
  assertEquals(Object.hasOwn(options, "path"), false);
});

Deno.test("readOnce() copies inherited options that have been read, and reads each once", () => {
  const reads: string[] = [];
  class Options {
    get port() {
      reads.push("port");
      return 7;
    }
  }
  const options = readOnce(new Options());
  assertEquals(options.port, 7);
  assertEquals({ ...options } as unknown, { port: 7 });
  assertEquals(reads, ["port"]);
});
