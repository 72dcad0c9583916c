/** nmap against the echo server. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { ask, Program } from "../helpers/faults.ts";
import { missing } from "../helpers/missing.ts";
import { LONG } from "../helpers/size.ts";

const ECHO_SERVER = import.meta.resolve("../../examples/echo_server.ts");

const PROBES = `${import.meta.dirname}/../testdata/nmap_service_probes`;
const VERSIONS = LONG ? ["--version-intensity", "0"] : ["--versiondb", PROBES];

for (const scan of [["-sT"], ["-sV", ...VERSIONS]]) {
  Deno.test({
    name: `echo server survives nmap ${scan[0]}`,
    ignore: missing("nmap"),
    async fn() {
      const port = freePort();
      await using server = Program.deno(
        [ECHO_SERVER, "--hostname", "127.0.0.1", `${port}`],
      );
      await server.lineAfter("Echoing on ");

      for (let round = 0; round < 2; round++) {
        const { stdout } = await new Deno.Command("nmap", {
          args: ["-n", "-Pn", ...scan, "-p", `${port}`, "127.0.0.1"],
        }).output();
        assertStringIncludes(
          new TextDecoder().decode(stdout),
          `${port}/tcp open`,
        );
        assertEquals(await ask({ port }, "still here?"), "still here?");
      }
      assertEquals(server.stderr, "");

      server.kill("SIGTERM");
      assertEquals((await server.status).code, 0);
    },
  });
}
