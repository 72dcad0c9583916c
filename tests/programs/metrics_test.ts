/** The echo server with metrics, read by curl and by an OpenTelemetry collector. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { listen } from "@evconn/listener";
import { exposition } from "../../examples/metrics/exposition.ts";
import { isClosed } from "../helpers/clients.ts";
import { run, startExample } from "../helpers/example_process.ts";
import { HAS_SIGNALS } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import { addressInUse } from "../helpers/os_words.ts";

const NO_CURL = missing("curl");

async function curl(url: string): Promise<string> {
  const { code, stdout, stderr } = await run("curl", ["-sSf", url]);
  assertEquals(code, 0, stderr);
  return stdout;
}

/** A worker's number in the text. */
function of(text: string, name: string, worker: number): number {
  const label = `listener_connections_${name}{worker="${worker}"} `;
  return parseInt(text.slice(text.indexOf(label) + label.length));
}

Deno.test({
  name: "metrics serves what the listener counts to curl",
  ignore: NO_CURL || !HAS_SIGNALS,
  async fn() {
    await using server = startExample("metrics", [
      ...["--workers", "2", "--metrics-port", "0", "0"],
    ], ["--allow-net", "--allow-read"]);
    const port = await server.port();
    const url = (await server.line(/Metrics on/)).replace("Metrics on ", "");
    using client = await Deno.connect({ hostname: "127.0.0.1", port });
    await client.write(new Uint8Array(1));
    assertEquals(await client.read(new Uint8Array(1)), 1);
    const text = await curl(url);
    for (const name of ["accepted_total", "active"]) {
      const [of0, of1] = [0, 1].map((worker) => of(text, name, worker));
      assertEquals(of0! + of1!, 1, text);
    }
    for (const line of text.trimEnd().split("\n")) {
      assertMatch(
        line,
        /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+\{(worker="[01]"|reason="[a-z-]+")\} \d+)$/,
      );
    }
    assertEquals(of(text, "max", 1), 1000);
    assertEquals(of(text, "max_per_peer", 1), 100);
    // Anything may stand in a Host header.
    const { code } = await run("curl", ["-sSf", "-H", "Host: a b", url]);
    assertEquals(code, 22); // a status of 400 or more
    client.close();
    const active = async () => {
      const text = await curl(url);
      return of(text, "active", 0) + of(text, "active", 1);
    };
    while (await active() > 0);
    server.kill("SIGTERM");
    const output = await server.output();
    assertEquals([output.code, output.stderr], [0, ""]);
  },
});

Deno.test({
  name: "metrics counts rejections by reason",
  ignore: NO_CURL,
  async fn() {
    await using server = startExample(
      "metrics",
      ["--metrics-port", "0", "0"],
      ["--allow-net", "--allow-read"],
    );
    const port = await server.port();
    const url = (await server.line(/Metrics on/)).replace("Metrics on ", "");
    using clients = new DisposableStack();
    // 100 of one client are served; the others are closed.
    for (let i = 0; i < 103; i++) {
      const client = await Deno.connect({ hostname: "127.0.0.1", port });
      clients.use(client);
      if (i >= 100) assert(await isClosed(client));
    }
    const peers = 'listener_rejections_total{reason="peer"} 3\n';
    let text;
    do text = await curl(url); while (!text.includes(peers)); // it comes as a message
    for (const reason of ["full", "not-admitted", "proxy-header"]) {
      assertStringIncludes(text, `{reason="${reason}"} 0\n`);
    }
    assertEquals(of(text, "rejected_total", 0), 3);
  },
});

Deno.test("exposition() takes a listener, and writes no limit as +Inf", async () => {
  await using listener = listen({ port: 0, maxConnections: 5 });
  const text = exposition([listener], {
    "full": 0,
    "peer": 1,
    "not-admitted": 0,
    "proxy-header": 0,
  });
  assertStringIncludes(text, '\nlistener_connections_max{worker="0"} 5\n');
  assertStringIncludes(text, '_max_per_peer{worker="0"} +Inf\n');
  assertStringIncludes(text, '\nlistener_rejections_total{reason="peer"} 1\n');
});

Deno.test("metrics reports to an OpenTelemetry collector", async () => {
  const received = Promise.withResolvers<string>();
  await using collector = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const body = await request.text();
      if (body.includes("listener.connections.accepted")) {
        received.resolve(body);
      }
      return Response.json({});
    },
  );
  await using server = startExample("metrics", ["--metrics-port", "0", "0"], [
    "--allow-net",
    "--allow-read",
  ], {
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
    OTEL_METRIC_EXPORT_INTERVAL: "200",
  });
  await server.port();
  const sent = JSON.parse(await received.promise);
  const names = JSON.stringify(sent).matchAll(/"name":"(listener\.[^"]+)"/g);
  assertEquals([...names].map(([, name]) => name).sort(), [
    "listener.connections.aborted",
    "listener.connections.accept_errors",
    "listener.connections.accepted",
    "listener.connections.active",
    "listener.connections.errors",
    "listener.connections.max",
    "listener.connections.max_per_peer",
    "listener.connections.parked",
    "listener.connections.rejected",
    "listener.connections.timed_out",
    "listener.connections.waiting",
    "listener.rejections",
  ]);
});

Deno.test(
  "metrics ends at a second signal, also while a request is under way",
  {
    ignore: !HAS_SIGNALS,
  },
  async () => {
    await using server = startExample(
      "metrics",
      ["--metrics-port", "0", "0"],
      ["--allow-net", "--allow-read"],
    );
    const port = await server.port();
    const http = Number(/:(\d+)\//.exec(await server.line(/Metrics on/))![1]);
    // A request whose body never comes.
    using holding = await Deno.connect({ hostname: "127.0.0.1", port: http });
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
    await holding.write(new TextEncoder().encode(head));
    await holding.read(new Uint8Array(1)); // it is answered already
    server.kill("SIGTERM");
    for (;;) {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      } catch (error) {
        if (error instanceof Deno.errors.ConnectionRefused) break;
      }
    }
    server.kill("SIGINT");
    assertEquals((await server.output()).code, 0);
  },
);

Deno.test("metrics says what is wrong with its own arguments", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const inUse = `${taken.addr.port}`;
  for (
    const [args, message] of [
      [
        ["0", "--metrics-port", inUse],
        `Cannot listen on 127.0.0.1:${inUse}: ${addressInUse()}`,
      ],
      [["--metrics-port", "x"], "Invalid port"],
      [["--workers", "0"], "Invalid --workers"],
    ] as const
  ) {
    await using server = startExample("metrics", [...args], [
      "--allow-net",
      "--allow-read",
    ]);
    const { code, stderr } = await server.output();
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
  }
});
