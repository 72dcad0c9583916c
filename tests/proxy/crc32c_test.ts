import { assertEquals } from "@std/assert";
import { crc32c } from "../../internal/proxy/crc32c.ts";
import { bitwiseCrc32c, bytes, random } from "../helpers/proxy_headers.ts";

// "123456789" is what every CRC is compared by; the others are in RFC 3720, B.4.
const KNOWN: [string, Uint8Array, number][] = [
  ["nothing", new Uint8Array(0), 0],
  ["the digits", bytes("123456789"), 0xe3069283],
  ["32 times 0", new Uint8Array(32), 0x8a9136aa],
  ["32 times 255", new Uint8Array(32).fill(255), 0x62a8ab43],
  ["0 to 31", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
];

Deno.test("crc32c() gives the known checksums", () => {
  for (const [name, bytes, sum] of KNOWN) {
    assertEquals([name, crc32c(bytes)], [name, sum]);
  }
});

Deno.test("crc32c() gives the same for bytes in parts, and without a table", () => {
  const next = random(1);
  for (let round = 0; round < 200; round++) {
    const all = Uint8Array.from({ length: next(200) }, () => next(256));
    const cut = next(all.length + 1);
    const sum = crc32c(all);
    assertEquals(crc32c(all.subarray(cut), crc32c(all.subarray(0, cut))), sum);
    assertEquals(bitwiseCrc32c(all), sum);
  }
});
