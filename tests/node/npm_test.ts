/** Servers from npm, as they are. */
import { assertEquals, assertMatch } from "@std/assert";
import { type ConnListener, listen } from "@evconn/listener";
import { serveNode, serveTls } from "@evconn/listener/node";
// @ts-types="../helpers/npm.d.ts"
import { Aedes } from "npm:aedes@^1";
// @ts-types="../helpers/npm.d.ts"
import express from "npm:express@^5";
// @ts-types="../helpers/npm.d.ts"
import mqtt from "npm:mqtt@^5";
// @ts-types="../helpers/npm.d.ts"
import nodemailer from "npm:nodemailer@^7";
// @ts-types="../helpers/npm.d.ts"
import { SMTPServer } from "npm:smtp-server@^3";
import { createServer } from "node:http";
import { connect as nodeConnect } from "node:net";
import { until } from "../helpers/clients.ts";
import { get } from "../helpers/http_clients.ts";
import { pair } from "../helpers/tls_certificates.ts";
import { connectTls } from "../helpers/tls_clients.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const ONE = pair("one.test");

/** smtp-server, with a place for one client, and the mails that it has got. */
function startSmtp() {
  const mails: string[] = [];
  const smtp = new SMTPServer({
    ...ONE,
    authOptional: true,
    disableReverseLookup: true,
    // deno-lint-ignore no-explicit-any
    onData(stream: any, session: any, done: () => void) {
      let text = `${session.remoteAddress} ${session.secure} `;
      stream.on("data", (chunk: Uint8Array) => text += chunk);
      stream.on("end", () => {
        mails.push(text);
        done();
      });
    },
  });
  smtp.on("error", () => {}); // clients that leave
  const listener = listen(
    { ...HERE, maxConnections: 1 },
    serveNode(smtp.server),
  );
  return { listener, mails };
}

/** Sends a mail by nodemailer. */
function mail({ addr }: ConnListener, options: object, text = "hello") {
  const transport = nodemailer.createTransport({
    host: addr.hostname,
    port: addr.port,
    tls: { rejectUnauthorized: false },
    ...options,
  });
  return transport.sendMail({ from: "a@one.test", to: "b@one.test", text });
}

Deno.test("smtp-server gets mails, plain and by STARTTLS, and loses no place", async () => {
  const { listener, mails } = startSmtp();
  for (const options of [{ ignoreTLS: true }, { requireTLS: true }]) {
    for (let i = 0; i < 3; i++) await mail(listener, options);
  }
  await mail(listener, { requireTLS: true }, "x".repeat(500_000));
  await until(() => listener.stats.active === 0);
  assertEquals(mails.length, 7);
  for (const [i, mail] of mails.entries()) {
    assertMatch(mail, i < 3 ? /^127.0.0.1 false / : /^127.0.0.1 true /);
  }
  await listener.shutdown();
});

/** What clients of SMTP say, one after the other. */
const WORDS = ["EHLO a", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "text"];
const WORDS_TO_TLS = ["EHLO a", "STARTTLS", "\x16\x03\x01\x02"];

Deno.test("smtp-server loses no place when clients leave at any point", async () => {
  const { listener, mails } = startSmtp();
  const { hostname, port } = listener.addr;
  for (const words of [WORDS, WORDS_TO_TLS]) {
    for (let count = 0; count <= words.length; count++) {
      for (const leave of ["destroy", "end", "resetAndDestroy"] as const) {
        const client = nodeConnect(port, hostname);
        client.on("error", () => {});
        let said = 0;
        client.on("data", () => {
          if (said < count) client.write(`${words[said++]}\r\n`);
          if (said === count) client[leave]();
        });
        await new Promise((resolve) => client.on("close", resolve));
      }
    }
  }
  await mail(listener, { requireTLS: true });
  await until(() => listener.stats.active === 0);
  assertEquals(mails.length, 1);
  assertEquals(listener.stats.connectionErrors, 0);
  await listener.shutdown();
});

Deno.test("aedes gets 200 messages in order, and notices a client that is gone", async () => {
  const broker = await Aedes.createBroker();
  const listener = listen(
    HERE,
    serveNode((socket) => void broker.handle(socket)),
  );
  const url = `mqtt://127.0.0.1:${listener.addr.port}`;
  const subscriber = await mqtt.connectAsync(url, { keepalive: 1 });
  const numbers: string[] = [];
  let lastWill = "";
  subscriber.on("message", (topic: string, payload: Uint8Array) => {
    if (topic === "numbers") numbers.push(`${payload}`);
    else lastWill = `${payload}`;
  });
  await subscriber.subscribeAsync(["numbers", "will"], { qos: 1 });
  const publisher = await mqtt.connectAsync(url, {
    reconnectPeriod: 0,
    will: { topic: "will", payload: "gone", qos: 1 },
  });
  const expected = Array.from({ length: 200 }, (_, i) => `${i}`);
  for (const number of expected) {
    publisher.publish("numbers", number, { qos: 1 });
  }
  await until(() => numbers.length === 200);
  assertEquals(numbers, expected);
  publisher.stream.destroy();
  await until(() => lastWill === "gone");
  await new Promise((resolve) => subscriber.once("packetreceive", resolve)); // PINGRESP
  assertEquals(listener.stats.active, 1);
  await subscriber.endAsync();
  await until(() => listener.stats.active === 0);
  await new Promise<void>((resolve) => broker.close(resolve));
  await listener.shutdown();
});

type Send = (value: unknown) => void;

Deno.test("express answers, plain and by TLS", async () => {
  const app = express();
  app.use(express.json({ limit: "5mb" }));
  app.get("/", (request: { ip: string }, response: { send: Send }) => {
    response.send(`hello, ${request.ip}\n`);
  });
  app.post("/", (request: { body: unknown }, response: { json: Send }) => {
    response.json(request.body);
  });
  const server = createServer(app);
  await using plain = listen(HERE, serveNode(server));
  const url = `http://127.0.0.1:${plain.addr.port}/`;
  assertEquals(await (await fetch(url)).text(), "hello, 127.0.0.1\n");
  const body = JSON.stringify({ text: "x".repeat(3_000_000) });
  const headers = { "Content-Type": "application/json" };
  const posted = await fetch(url, { method: "POST", body, headers });
  assertEquals(await posted.text(), body);

  await using secure = listen(HERE, serveTls(ONE, serveNode(server)));
  using client = await connectTls(secure);
  await get(client);
});
