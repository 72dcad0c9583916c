/** Addresses as text: compared with what `new URL()` makes of them. */
import { assert, assertEquals } from "@std/assert";
import {
  formatIpv6,
  ipv6Groups,
  missingInDecimal,
  missingInIpv4,
  missingInIpv6,
} from "../../internal/util/ip_address.ts";
import {
  bytes,
  canonical,
  random,
  randomGroups,
  spelled,
} from "../helpers/proxy_headers.ts";

type Missing = (bytes: Uint8Array, from: number, to: number) => number;

/** Tests it in the middle of other text, of which it must not see anything. */
function missing(missingIn: Missing, text: string): number {
  return missingIn(bytes(`1:.${text}.:1`), 3, 3 + text.length);
}

const missingInPort: Missing = (bytes, from, to) =>
  missingInDecimal(bytes, from, to, 65535);

const NEVER = Infinity;

const TABLES: [string, Missing, [string, number][]][] = [
  ["missingInDecimal()", missingInPort, [
    ["", 1],
    ["0", 0],
    ["9", 0],
    ["10", 0],
    ["65535", 0],
    ["65536", NEVER],
    ["100000", NEVER],
    [".", NEVER],
    [".", NEVER],
    [".", NEVER],
    [".", NEVER],
    [".", NEVER],
    [".", NEVER],
    ["/", NEVER], // the characters beside the digits
    [":", NEVER],
  ]],
  ["missingInIpv4()", missingInIpv4, [
    ["", 7],
    ["0", 6],
    ["255", 6],
    ["1.", 5],
    ["1.2", 4],
    ["1.2.", 3],
    ["1.2.3", 2],
    ["1.2.3.", 1],
    ["1.2.3.4", 0],
    ["255.255.255.255", 0],
    ["1.2.3.4.", NEVER],
    ["1.2.3.256", NEVER],
    ["256", NEVER],
    [".", NEVER],
    ["1..", NEVER],
    [".", NEVER],
    ["1.02", NEVER],
    ["0x1", NEVER],
    ["a", NEVER],
  ]],
  ["missingInIpv6()", missingInIpv6, [
    ["", 2],
    [":", 1],
    ["::", 0],
    ["::1", 0],
    ["::1:", 1],
    ["1", 2],
    ["1:", 1],
    ["1::", 0],
    ["12aF", 2],
    ["1:2:3:4:5:6:7", 2],
    ["1:2:3:4:5:6:7:", 1],
    ["1:2:3:4:5:6:7:8", 0],
    ["1:2:3:4:5:6:7::", 0],
    ["::2:3:4:5:6:7:8", 0],
    ["1:2:3::5:6:7:8", 0],
    ["::1.2.3.4", 0],
    ["::ffff:1.2", 4],
    ["::1.", 5],
    ["1:2:3:4:5:6:1.2.3.4", 0],
    ["1::3:4:5:6:1.2.3.4", 0],
    ["::2:3:4:5:6:1.2.3.4", 0],
    [".", NEVER],
    [":::", NEVER],
    ["1:::", NEVER],
    ["1::2::", NEVER],
    ["::1::", NEVER],
    ["12345", NEVER],
    ["1:12345", NEVER],
    ["g", NEVER],
    ["G", NEVER],
    ["@", NEVER], // the characters beside A and a
    ["`", NEVER],
    ["::1%", NEVER], // a zone
    ["::1/", NEVER],
    ["[", NEVER],
    ["1:2:3:4:5:6:7:8:", NEVER],
    ["1:2:3:4:5:6:7::8", NEVER],
    ["::2:3:4:5:6:7:8:", NEVER],
    ["::2:3:4:5:6:7:8:9", NEVER],
    ["::2:3:4:5:6:7:8:9:a", NEVER],
    ["1:2:3:4:5:6:7:8:9:a", NEVER],
    ["1:2:3:4:5:6:7:8::", NEVER],
    [".", NEVER],
    ["1:2:3:4:5:1.", NEVER], // too early for an IPv4 address
    ["1:2:3:4:5:6:7:1.", NEVER], // too late
    ["::2:3:4:5:6:7:1.", NEVER],
    ["::1.2.3.4:", NEVER],
    ["::1.2.3.256", NEVER],
    ["::01.", NEVER],
    ["::a.", NEVER],
  ]],
];

for (const [name, missingIn, rows] of TABLES) {
  Deno.test(`${name} tells how much is missing at least`, () => {
    for (const [text, expected] of rows) {
      assertEquals([text, missing(missingIn, text)], [text, expected]);
    }
  });
}

Deno.test("missingInIpv6() and new URL() agree on what is an address", () => {
  const next = random(2);
  const alphabet = "0123456789abfF::::....g";
  let valid = 0;
  for (let round = 0; round < 50_000; round++) {
    const text = spelled(randomGroups(next), next).split("");
    for (let change = next(3); change > 0; change--) {
      text.splice(next(text.length), next(2), alphabet[next(alphabet.length)]!);
    }
    const changed = text.join("");
    const isValid = canonical(changed) !== undefined;
    valid += Number(isValid);
    assertEquals(
      [changed, missing(missingInIpv6, changed) === 0],
      [changed, isValid],
    );
  }
  assert(valid > 10_000 && valid < 40_000, `${valid}`);
});

const CANONICAL: [string, string][] = [
  ["::", "::"],
  ["::1", "::1"],
  ["1::", "1::"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["2001:DB8::00A0", "2001:db8::a0"],
  ["1:0:0:2:0:0:0:3", "1:0:0:2::3"], // the longest run
  ["1:0:0:0:2:0:0:3", "1::2:0:0:3"],
  ["1:0:0:2:0:0:3:4", "1::2:0:0:3:4"], // the first of two
  ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"], // a single group stays
  ["1::3:4:5:6:7:8", "1:0:3:4:5:6:7:8"],
  ["0:0:1::", "0:0:1::"],
  ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
  ["::FFFF:c0a8:00ff", "::ffff:192.168.0.255"],
  ["0:0:0:0:0:ffff:255.255.255.255", "::ffff:255.255.255.255"],
  ["::1.2.3.4", "::102:304"], // not mapped
  ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ["1::ffff:1.2.3.4", "1::ffff:102:304"],
];

Deno.test("formatIpv6() gives the canonical form", () => {
  for (const [text, expected] of CANONICAL) {
    assertEquals([text, formatIpv6(ipv6Groups(text))], [text, expected]);
  }
});

Deno.test("formatIpv6() and new URL() show every address alike, however it is spelled", () => {
  const next = random(3);
  for (let round = 0; round < 20_000; round++) {
    const groups = randomGroups(next);
    const text = spelled(groups, next);
    assertEquals([text, ipv6Groups(text)], [text, groups]);
    assertEquals(formatIpv6(groups), canonical(text));
  }
});
