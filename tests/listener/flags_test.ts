import { assertEquals, assertThrows } from "@std/assert";
import * as evconn from "@evconn/listener";
import { explainFlags } from "@evconn/listener";

const HEADER = {
  LEV_OPT_LEAVE_SOCKETS_BLOCKING: 1 << 0,
  LEV_OPT_CLOSE_ON_FREE: 1 << 1,
  LEV_OPT_CLOSE_ON_EXEC: 1 << 2,
  LEV_OPT_REUSEABLE: 1 << 3,
  LEV_OPT_THREADSAFE: 1 << 4,
  LEV_OPT_DISABLED: 1 << 5,
  LEV_OPT_DEFERRED_ACCEPT: 1 << 6,
  LEV_OPT_REUSEABLE_PORT: 1 << 7,
  LEV_OPT_BIND_IPV6ONLY: 1 << 8,
  LEV_OPT_BIND_IPV4_AND_IPV6: 1 << 9,
};
const ALL = 0x3ff;

Deno.test("LEV_OPT_* have the bits of event2/listener.h", () => {
  const flags = Object.entries(evconn)
    .filter(([name]) => name.startsWith("LEV_OPT_"))
    .sort(([, a], [, b]) => Number(a) - Number(b));
  assertEquals(Object.fromEntries(flags), HEADER);
});

Deno.test("explainFlags() gives one report for each flag, lowest bit first", () => {
  const reports = explainFlags(ALL);
  assertEquals(
    reports.map(({ name, bit }) => [name, bit]),
    Object.entries(HEADER),
  );
  assertEquals(explainFlags(0), []);
  assertEquals(explainFlags(1 << 5).map((report) => report.name), [
    "LEV_OPT_DISABLED",
  ]);
});

Deno.test("explainFlags() says how each flag is supported", {
  ignore: Deno.build.os !== "linux",
}, () => {
  const support = explainFlags(ALL).map(({ name, support }) => [name, support]);
  assertEquals(Object.fromEntries(support), {
    LEV_OPT_LEAVE_SOCKETS_BLOCKING: "no-effect",
    LEV_OPT_CLOSE_ON_FREE: "listener",
    LEV_OPT_CLOSE_ON_EXEC: "always",
    LEV_OPT_REUSEABLE: "always",
    LEV_OPT_THREADSAFE: "always",
    LEV_OPT_DISABLED: "listener",
    LEV_OPT_DEFERRED_ACCEPT: "listener",
    LEV_OPT_REUSEABLE_PORT: "listen-option",
    LEV_OPT_BIND_IPV6ONLY: "listen-option",
    LEV_OPT_BIND_IPV4_AND_IPV6: "listen-option",
  });
});

Deno.test("explainFlags() gives reports that the caller may keep and change", () => {
  explainFlags(ALL)[0]!.detail = "changed";
  assertEquals(explainFlags(1)[0]!.detail === "changed", false);
});

Deno.test("explainFlags() refuses what is not a combination of flags", () => {
  assertThrows(
    () => explainFlags(0x401),
    RangeError,
    "Cannot explain flags as 'flags' has unknown bits 0x400: received 0x401",
  );
  assertThrows(() => explainFlags(-1), RangeError, "received -1");
  assertThrows(() => explainFlags(1.5), RangeError, "received 1.5");
  assertThrows(() => explainFlags(NaN), RangeError, "received NaN");
  assertThrows(() => explainFlags(2 ** 40), RangeError, "unknown bits");
  assertThrows(() => explainFlags("1" as never), TypeError, "must be a number");
});
