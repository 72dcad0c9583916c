/** The PROXY protocol's header: what is one, how long it is, and what it says. */
import { assert, assertEquals } from "@std/assert";
import { headerLength, parseHeader } from "../../internal/proxy/header.ts";
import {
  binary,
  bytes,
  GOOD,
  hex,
  hexByte,
  MAPPED,
  NEXT_BYTES,
  seal,
  SIGNATURE,
  tlv,
  told,
  V4,
} from "../helpers/proxy_headers.ts";

Deno.test("parseHeader() gives what a header says", () => {
  for (const [name, header, expected] of GOOD) {
    assertEquals([name, told(parseHeader(header))], [name, expected]);
  }
});

Deno.test("parseHeader() decodes everything once", () => {
  for (const [name, header] of GOOD) {
    const parsed = parseHeader(header)!;
    assert(parsed.source === parsed.source, name);
    assert(parsed.destination === parsed.destination, name);
    assert(parsed.tlvs === parsed.tlvs, name);
  }
});

Deno.test("parseHeader() gives values of which a change changes nothing else", () => {
  const header = binary("2111", V4 + tlv(0x02, "6162"));
  const parsed = parseHeader(header)!;
  parsed.tlvs[0]!.value.fill(0);
  assertEquals(header, binary("2111", V4 + tlv(0x02, "6162")));
  assertEquals(parsed.tlvs[0]!.value.buffer.byteLength, 2);
});

Deno.test("headerLength() asks for more until a header is whole, and parseHeader() refuses a part", () => {
  for (const [name, header] of GOOD) {
    for (let length = 0; length < header.length; length++) {
      const part = header.subarray(0, length);
      const least = headerLength(part)!;
      assert(
        least > length && least <= header.length,
        `${name}, ${length}: ${least}`,
      );
      assertEquals(parseHeader(part), undefined, name);
    }
  }
});

Deno.test("headerLength() does not see what follows a header, and parseHeader() refuses it", () => {
  for (const [name, header] of GOOD) {
    for (const data of ["\0", "\n", "\r\n", " 1 2\r\n", "GET / HTTP/1.1\r\n"]) {
      const all = Uint8Array.from([...header, ...bytes(data)]);
      assertEquals([name, headerLength(all)], [name, header.length]);
      assertEquals(parseHeader(all), undefined, name);
      const inside = all.subarray(0, header.length); // of a larger buffer
      assertEquals(told(parseHeader(inside)), told(parseHeader(header)));
    }
  }
});

Deno.test("headerLength() tells at once how long a header of version 2 is", () => {
  for (const [name, header] of GOOD) {
    if (header[0] !== 0x0d) continue;
    const known = headerLength(header.subarray(0, 16));
    assertEquals([name, known], [name, header.length]);
  }
});

/**
 * Adds bytes until it is a header, without ever making it longer than it must be.
 * In version 2 any bytes will do after the 16th.
 */
function completed(part: Uint8Array): Uint8Array {
  const length = headerLength(part)!;
  while (part.length < (part[0] === 0x0d ? 16 : length)) {
    const next = NEXT_BYTES.map((byte) => Uint8Array.from([...part, byte]))
      .find((longer) => headerLength(longer) === length);
    assert(next, `${length}: ${part}`);
    part = next;
  }
  return part;
}

Deno.test("headerLength() is what the shortest header has that begins so", () => {
  for (const [name, header] of GOOD) {
    const isBinary = header[0] === 0x0d;
    for (let end = 0; end < (isBinary ? 16 : header.length); end++) {
      const part = header.subarray(0, end);
      const least = headerLength(part)!;
      // There is one of that length …
      const shortest = completed(part);
      assert(isBinary || parseHeader(shortest), `${name}, ${end}`);
      // … and no shorter one, whatever comes next.
      for (let byte = 0; byte < 256; byte++) {
        const longer = headerLength(Uint8Array.from([...part, byte]));
        assert(longer === undefined || longer >= least, `${name}, ${end}`);
      }
    }
  }
});

/** Each ends with the byte at which no header is possible any more. */
const WRONG_AT_THE_END: [string, Uint8Array][] = [
  ...[
    "G", // of GET
    "\x16", // of TLS
    "\n",
    "p",
    "PROXY\t",
    "PROXY\r",
    "PROXY  ",
    "PROXY t",
    "PROXY U ",
    "PROXY UNKNOWn",
    "PROXY TCP ",
    "PROXY TCP5",
    "PROXY TCP4\r",
    "PROXY TCP4  ",
    "PROXY TCP4 01",
    "PROXY TCP4 256",
    "PROXY TCP4 1.2.3 ",
    "PROXY TCP4 1.2.3.4.",
    "PROXY TCP4 1.2.3.4\r",
    "PROXY TCP4 1.2.3.4\t",
    "PROXY TCP4 a",
    "PROXY TCP4 1:",
    "PROXY TCP4 1.2.3.4  ",
    "PROXY TCP4 1.2.3.4 :", // the other family
    "PROXY TCP4 1.2.3.4 1.2.3.4\r",
    "PROXY TCP4 1.2.3.4 1.2.3.4  ",
    "PROXY TCP4 1.2.3.4 1.2.3.4 -",
    "PROXY TCP4 1.2.3.4 1.2.3.4 +",
    "PROXY TCP4 1.2.3.4 1.2.3.4 00",
    "PROXY TCP4 1.2.3.4 1.2.3.4 65536",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1\r",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1  ",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 02",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r ",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r",
    "PROXY TCP6 g",
    "PROXY TCP6 ::1%",
    "PROXY TCP6 [",
    "PROXY TCP6 1::2::",
    "PROXY TCP6 1:2:3:4:5:6:7 ",
    "PROXY TCP6 1: ",
    "PROXY TCP6 12345",
    "PROXY TCP6 1.2.3.4:",
    "PROXY TCP6 01.", // a group, but no number of an IPv4 address
    "PROXY TCP6 ::1 ::1 1 2\n",
    `PROXY TCP6 ${MAPPED} ${MAPPED}`, // the shortest line would be of 108 bytes
    "PROXY UNKNOWN" + "x".repeat(93), // and here
    "PROXY UNKNOWN" + "\r".repeat(94),
  ].map((line): [string, Uint8Array] => [line, bytes(line)]),
  ["another version", hex(SIGNATURE + "11")],
  ["another command", hex(SIGNATURE + "22")],
  ["UDP over IPv4", hex(SIGNATURE + "2112")],
  ["UDP over IPv6", hex(SIGNATURE + "2122")],
  ["a Unix stream", hex(SIGNATURE + "2131")],
  ["a Unix datagram", hex(SIGNATURE + "2132")],
  ["too short for IPv4", hex(SIGNATURE + "2111000b")],
  ["too short for IPv6", hex(SIGNATURE + "21210023")],
  ["4097 bytes", hex(SIGNATURE + "21110ff1")],
  ["4097 bytes with LOCAL", hex(SIGNATURE + "20000ff1")],
  ["4112 bytes, or more", hex(SIGNATURE + "211110")],
  ["65551 bytes", hex(SIGNATURE + "2111ff")],
];

Deno.test("headerLength() and parseHeader() refuse at the first wrong byte", () => {
  for (const [name, wrong] of WRONG_AT_THE_END) {
    for (let length = 0; length < wrong.length; length++) {
      const part = wrong.subarray(0, length);
      assert(headerLength(part) !== undefined, `${name}, ${length}`);
    }
    for (const rest of ["", "\0", " ", " 1 2\r\n", "\r\n", "0".repeat(5000)]) {
      const all = Uint8Array.from([...wrong, ...bytes(rest)]);
      assertEquals([name, headerLength(all)], [name, undefined]);
      assertEquals(parseHeader(all), undefined, name);
    }
  }
});

Deno.test("headerLength() refuses every other byte in what a header begins with", () => {
  for (const [name, header] of GOOD) {
    const start = header[0] === 0x0d ? 12 : "PROXY TCP".length;
    for (let at = 0; at < start; at++) {
      for (let change = 1; change < 256; change++) {
        const changed = Uint8Array.from(header);
        changed[at]! ^= change;
        assertEquals([name, headerLength(changed)], [name, undefined]);
      }
    }
  }
});

Deno.test("headerLength() knows two commands, and with PROXY six families", () => {
  const known = (start: string) =>
    headerLength(binary(start, V4 + "00".repeat(24))) !== undefined;
  const all = Array.from({ length: 256 }, (_, byte) => hexByte(byte));
  assertEquals(all.filter((byte) => known(byte + "00")), ["20", "21"]);
  assertEquals(
    all.filter((byte) => known("21" + byte)),
    ["00", "01", "10", "11", "20", "21"],
  );
  assertEquals(all.filter((byte) => known("20" + byte)), all);
});

const withTlvs = (tlvs: string) => binary("2111", V4 + tlvs);

const WRONG_TLVS: [string, Uint8Array][] = [
  ["one byte", withTlvs("01")],
  ["two bytes", withTlvs("0100")],
  ["a length, and no value", withTlvs("010001")],
  ["a TLV that lacks one byte", withTlvs("0200036162")],
  ["a TLV that lacks many", withTlvs("02ffff6162")],
  ["a TLV that is cut after another", withTlvs(tlv(2, "6162") + "0200")],
  ["a byte after a TLV", withTlvs(tlv(2, "61") + "00")],
  ["a unique ID of 129 bytes", withTlvs(tlv(5, "00".repeat(129)))],
  ["an empty checksum", withTlvs(tlv(3, ""))],
  ["another checksum", withTlvs(tlv(3, "00000000"))],
  // These would be right, but for their length. The fourth byte is another TLV's type.
  ["a checksum of 3 bytes", seal(withTlvs("030003 00000000 0000"), "030003")],
  ["a checksum of 5 bytes", seal(withTlvs("030005 0000000000"), "030005")],
  // Each is right while the other is there.
  ["two checksums", withTlvs(tlv(3, "80c95393") + tlv(3, "ccf5eddc"))],
];

Deno.test("parseHeader() refuses TLVs that are not what they must be", () => {
  for (const [name, header] of WRONG_TLVS) {
    assertEquals([name, headerLength(header)], [name, header.length]);
    assertEquals([name, told(parseHeader(header))], [name, "refused"]);
  }
});

Deno.test("parseHeader() refuses a header with a checksum of which any bit is wrong", () => {
  const header = seal(
    withTlvs(tlv(2, "6162") + tlv(3, "00000000") + tlv(4, "00")),
  );
  assert(parseHeader(header));
  for (let bit = 0; bit < header.length * 8; bit++) {
    const changed = Uint8Array.from(header);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    // LOCAL, no family, no protocol: what follows these is not looked at. And
    // it is no checksum if its type is another.
    const isUnseen = changed[12] === 0x20 || changed[13] === 0x01 ||
      changed[13] === 0x10 || changed[33] !== 0x03;
    assertEquals([bit, parseHeader(changed) === undefined], [bit, !isUnseen]);
  }
});
