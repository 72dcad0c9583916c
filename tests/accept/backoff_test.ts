/** The waits between accepts that fail: internal/accept/backoff.ts. */
import { assertEquals } from "@std/assert";
import { Backoff } from "../../internal/accept/backoff.ts";
import { testAlive } from "../helpers/alive.ts";
import { until } from "../helpers/clients.ts";
import { Waits } from "../helpers/waits.ts";

/** Fails so many times, each time when the wait before is over. */
async function failAll(count: number, backoff: Backoff, over: () => number) {
  const first: boolean[] = [];
  for (let i = 0; i < count; i++) {
    const before = over();
    first.push(backoff.fail());
    await until(() => over() > before);
  }
  return first;
}

/** A backoff, and how many of its waits are over. */
function counting() {
  let count = 0;
  return { backoff: new Backoff(() => count++), over: () => count };
}

Deno.test("fail() waits twice as long each time, up to 1 s, until an accept succeeds", async () => {
  using waits = new Waits();
  const { backoff, over } = counting();
  assertEquals(
    await failAll(11, backoff, over),
    [true, ...Array(10).fill(false)],
  );
  assertEquals(
    waits.asked,
    [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000],
  );
  backoff.succeed();
  assertEquals(await failAll(2, backoff, over), [true, false]);
  assertEquals(waits.asked, [5, 10]);
});

Deno.test("end() ends the wait, and the next is short again", async () => {
  using waits = new Waits();
  const { backoff, over } = counting();
  await failAll(3, backoff, over);
  backoff.fail();
  backoff.end(); // a timer that is left would be a leak
  assertEquals(over(), 3);
  assertEquals(await failAll(1, backoff, over), [false]); // the same episode
  assertEquals(waits.asked, [5, 10, 20, 40, 5]);
});

Deno.test("onPeerGone() waits after 256 clients in a row that were gone", async () => {
  using waits = new Waits();
  const { backoff, over } = counting();
  for (let i = 0; i < 255; i++) assertEquals(backoff.onPeerGone(), false);
  backoff.succeed();
  for (let i = 0; i < 255; i++) assertEquals(backoff.onPeerGone(), false);
  assertEquals(waits.asked, []);
  assertEquals(backoff.onPeerGone(), true);
  await until(() => over() === 1);
  assertEquals(waits.asked, [5]);
});

const BACKOFF = `
  const { setTimeout: real } = globalThis;
  const { Backoff } = await import(${
  JSON.stringify(import.meta.resolve("../../internal/accept/backoff.ts"))
});
  const backoff = new Backoff(() => {});
  const fail = () => {
    globalThis.setTimeout = (wake, ms) => real(wake, ms * 1000); // long enough to see
    backoff.fail();
    globalThis.setTimeout = real;
  };`;
const [ALIVE, NOT] = [true, false].map((isAlive) =>
  `backoff.keepAlive(${isAlive});`
);
testAlive("a wait", true, `${BACKOFF} fail();`);
testAlive("a wait after keepAlive(false)", false, `${BACKOFF} ${NOT} fail();`);
testAlive("keepAlive(false) in a wait", false, `${BACKOFF} fail(); ${NOT}`);
testAlive(
  "keepAlive(true) in a wait after keepAlive(false)",
  true,
  `${BACKOFF} ${NOT} fail(); ${ALIVE}`,
);
