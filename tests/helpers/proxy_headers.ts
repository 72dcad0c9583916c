/** Headers of the PROXY protocol, made without the library's help, and told. */
import type { ParsedHeader } from "../../internal/proxy/header.ts";

/** Integers from 0 to below `limit` that are the same for the same seed (xorshift32). */
export function random(seed: number): (limit: number) => number {
  let state = seed || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** One byte for each character, which is below U+0100. */
export function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Bytes from hexadecimal digits, with spaces where they help. */
export function hex(digits: string): Uint8Array {
  return Uint8Array.fromHex(digits.replaceAll(" ", ""));
}

export const SIGNATURE = "0d0a0d0a000d0a515549540a";

/** A header of version 2: its 13th and 14th byte, and all that the length counts. */
export function binary(start: string, rest: string): Uint8Array {
  const length = hex(rest).length.toString(16).padStart(4, "0");
  return hex(SIGNATURE + start + length + rest);
}

/** A TLV, in hexadecimal. */
export function tlv(type: number, value: string): string {
  const length = hex(value).length;
  return [type, length >> 8, length & 255].map(hexByte).join("") + value;
}

export function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** Fills in the checksum, which is four zeros after the last `start`. */
export function seal(header: Uint8Array, start = "030004"): Uint8Array {
  const at = header.toHex().lastIndexOf(`${start}00000000`) / 2 + 3;
  new DataView(header.buffer).setUint32(at, bitwiseCrc32c(header));
  return header;
}

/** CRC32C as it is defined: a division, bit by bit, with no table. */
export function bitwiseCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    }
  }
  return ~crc >>> 0;
}

/** An address's canonical form, as URL has it; undefined if the address is not valid. */
export function canonical(address: string): string | undefined {
  if (!/^[0-9a-f:.]+$/i.test(address)) return undefined;
  try {
    const { hostname } = new URL(`http://[${address}]`);
    // URL shows a mapped address in hexadecimal digits.
    return hostname.slice(1, -1).replace(
      /^::ffff:([0-9a-f]+):([0-9a-f]+)$/,
      (_, high, low) => {
        const bits = parseInt(high, 16) * 65536 + parseInt(low, 16);
        return "::ffff:" +
          [24, 16, 8, 0].map((shift) => bits >>> shift & 255).join(".");
      },
    );
  } catch {
    return undefined;
  }
}

/** One of the many ways to write an address of eight groups. */
export function spelled(
  groups: number[],
  next: (limit: number) => number,
): string {
  const texts = groups.map((group) => {
    const text = group.toString(16).padStart(1 + next(4), "0");
    return next(3) === 0 ? text.toUpperCase() : text;
  });
  if (next(4) === 0) {
    const [high, low] = groups.slice(6) as [number, number];
    const dotted = [high >> 8, high & 255, low >> 8, low & 255].join(".");
    texts.splice(6, 2, dotted);
  }
  const start = next(8);
  let end = start;
  while (end < texts.length && /^0+$/.test(texts[end]!)) end++;
  if (end === start || next(4) === 0) return texts.join(":");
  return `${texts.slice(0, start).join(":")}::${texts.slice(end).join(":")}`;
}

/** Eight groups with runs of zeros in them, some of them a mapped IPv4 address. */
export function randomGroups(next: (limit: number) => number): number[] {
  const mapped = next(8) === 0;
  return Array.from({ length: 8 }, (_, i) => {
    if (mapped && i < 6) return i === 5 ? 0xffff : 0;
    return next(2) === 0 ? 0 : next(2) === 0 ? next(16) : next(65536);
  });
}

/** All that a header says, in one line. */
export function told(header: ParsedHeader | undefined): string {
  if (header === undefined) return "refused";
  const { version, command, source, destination, tlvs } = header;
  const ends = [source, destination].filter((addr) => addr !== undefined)
    .map((addr) => `${addr.transport} ${addr.hostname} ${addr.port}`);
  const extra = tlvs.map(({ type, value }) => `${type}=${value.toHex()}`);
  return [`${version} ${command}`, ...ends, ...extra].join(", ");
}

/** Every byte that may be the next one somewhere in a header. */
export const NEXT_BYTES = [
  ...new Set([...bytes("0:.f \r\nPROXYTCP46UNKNOW"), ...hex(SIGNATURE)]),
  ...[0x20, 0x21, 0x11, 12, 36], // version 2: command, family, length
];

const F = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
/** A mapped address at its longest. */
export const MAPPED = "0000:0000:0000:0000:0000:ffff:255.255.255.255";

// What is between "PROXY " and CR LF, and what it says.
const LINES: [string, string][] = [
  [
    "TCP4 192.168.0.1 192.168.0.11 56324 443", // the specification's example
    "tcp 192.168.0.1 56324, tcp 192.168.0.11 443",
  ],
  [
    "TCP4 255.255.255.255 255.255.255.255 65535 65535", // the longest
    "tcp 255.255.255.255 65535, tcp 255.255.255.255 65535",
  ],
  ["TCP4 0.0.0.0 0.0.0.0 0 0", "tcp 0.0.0.0 0, tcp 0.0.0.0 0"],
  ["TCP6 2001:db8::1 fe80::AbCd 1 2", "tcp 2001:db8::1 1, tcp fe80::abcd 2"],
  [`TCP6 ${F} ${F} 65535 65535`, `tcp ${F} 65535, tcp ${F} 65535`],
  ["TCP6 :: :: 0 0", "tcp :: 0, tcp :: 0"],
  [
    "TCP6 0:0:0:0:0:0:0:1 0001:0:0:002:0:0:0:3 7 8",
    "tcp ::1 7, tcp 1:0:0:2::3 8",
  ],
  [
    "TCP6 ::ffff:1.2.3.4 ::ffff:102:304 1 2",
    "tcp ::ffff:1.2.3.4 1, tcp ::ffff:1.2.3.4 2",
  ],
  ["TCP6 ::1 10.20.30.40 1 2", "tcp ::1 1, tcp 10.20.30.40 2"], // from nginx
  [
    `TCP6 ${MAPPED} 1:2:3:4:5:6:255.255.255.254 65535 65535`, // 107 bytes
    "tcp ::ffff:255.255.255.255 65535, tcp 1:2:3:4:5:6:ffff:fffe 65535",
  ],
  ["UNKNOWN", ""],
  [`UNKNOWN ${F} ${F} 65535 65535`, ""], // 107 bytes
  ["UNKNOWN\0\xff  \r\r \n x\r", ""],
  ["UNKNOWNTCP4 1.2.3.4 1.2.3.4 1 2", ""],
];

/** The addresses of a header over IPv4, in hexadecimal. */
export const V4 = "01020304 ff000001 dc04 01bb";
const V4_TOLD = "tcp 1.2.3.4 56324, tcp 255.0.0.1 443";
const V6 = "20010db8000000000000000000000001" +
  "00000000000000000000ffffc0a80001" + "0001 ffff";
const V6_TOLD = "tcp 2001:db8::1 1, tcp ::ffff:192.168.0.1 65535";

// The 13th and 14th byte, the addresses and all that follows, and what it says.
const BINARIES: [string, string, string, string][] = [
  ["TCP over IPv4", "2111", V4, V4_TOLD],
  ["TCP over IPv6", "2121", V6, V6_TOLD],
  [
    "TLVs",
    "2111",
    V4 + tlv(0x02, "6162") + tlv(0xea, "") + tlv(0x02, "63"),
    `${V4_TOLD}, 2=6162, 234=, 2=63`,
  ],
  [
    "TLVs that only pad",
    "2121",
    V6 + tlv(0x04, "0000") + tlv(0xff, "01") + tlv(0x04, ""),
    `${V6_TOLD}, 255=01`,
  ],
  [
    "a unique ID of 128 bytes",
    "2111",
    V4 + tlv(0x05, "ab".repeat(128)),
    `${V4_TOLD}, 5=${"ab".repeat(128)}`,
  ],
  [
    "a TLV of more than 256 bytes",
    "2111",
    V4 + tlv(0x20, "00".repeat(0x0123)),
    `${V4_TOLD}, 32=${"00".repeat(0x0123)}`,
  ],
  [
    "a checksum",
    "2111",
    "7f0000017f000001002a0539" + tlv(0x03, "d3a55d3b"),
    "tcp 127.0.0.1 42, tcp 127.0.0.1 1337, 3=d3a55d3b",
  ],
  [
    "4096 bytes",
    "2111",
    V4 + tlv(0xe0, "01".repeat(4065)),
    `${V4_TOLD}, 224=${"01".repeat(4065)}`,
  ],
  ["LOCAL", "2000", "", ""],
  ["LOCAL with addresses", "2011", V4, ""],
  ["LOCAL with less than addresses", "2011", "01", ""],
  ["LOCAL in a family that is not defined", "20ff", V4, ""],
  ["LOCAL with TLVs", "2000", tlv(0x02, "6162"), ""],
  ["no family", "2100", "", ""],
  ["no family, and addresses", "2100", V4, ""],
  ["no family, and a single byte", "2100", "01", ""],
  ["a family and no protocol", "2110", V4, ""],
  ["a protocol and no family", "2101", V4, ""],
];

/** Headers with a name, and what they say as told() has it. */
export const GOOD: [string, Uint8Array, string][] = [
  ...LINES.map(([line, says]): [string, Uint8Array, string] => [
    line,
    bytes(`PROXY ${line}\r\n`),
    says === "" ? "1 PROXY" : `1 PROXY, ${says}`,
  ]),
  ...BINARIES.map(([name, start, rest, says]): [string, Uint8Array, string] => {
    const command = start.startsWith("20") ? "2 LOCAL" : "2 PROXY";
    const header = binary(start, rest);
    return [name, header, says === "" ? command : `${command}, ${says}`];
  }),
];
