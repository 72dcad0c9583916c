/**
 * Parses the header of the PROXY protocol, versions 1 and 2. A proxy sends it before
 * anything else, to say where a connection comes from. Sections that are named here are
 * those of HAProxy's specification (doc/proxy-protocol.txt).
 */
import { crc32c } from "./crc32c.ts";
import {
  formatIpv6,
  ipv6Groups,
  missingInDecimal,
  missingInIpv4,
  missingInIpv6,
} from "../util/ip_address.ts";

/** A further field of a header of version 2. Section 2.2 lists the types. */
interface Tlv {
  readonly type: number;
  readonly value: Uint8Array;
}

/** A header. Its fields are decoded when they are read. */
export interface ParsedHeader {
  readonly version: 1 | 2;
  /** LOCAL: the proxy has connected for itself, for example for a health check. */
  readonly command: "PROXY" | "LOCAL";
  /** The client's address; undefined if the header has none. */
  readonly source: Deno.NetAddr | undefined;
  /** The address that the client has connected to; undefined if `source` is. */
  readonly destination: Deno.NetAddr | undefined;
  /** The further fields in the order in which they were sent, without padding. */
  readonly tlvs: Tlv[];
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

/** Where the addresses begin in version 1: after `PROXY TCP4 `. */
const TEXT_ADDRESSES = 11;
/** Where the addresses begin in version 2: after the fixed part. */
const BINARY_ADDRESSES = 16;

// The 13th byte of version 2 is the version, which is 2, and the command.
const LOCAL = 0x20;
const PROXY = 0x21;

/**
 * The length of the addresses, by the 14th byte: the family and the protocol. If one of
 * the two is not specified, section 2.2 allows to accept the connection with its own
 * addresses; the rest of the header is then ignored. Clients of a TCP listener have no UDP
 * or Unix addresses. Other values are not defined.
 */
const ADDRESSES_LENGTH: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x01, 0],
  [0x10, 0],
  [0x20, 0],
  [0x11, 2 * 4 + 2 * 2],
  [0x21, 2 * 16 + 2 * 2],
]);

const TYPE_CRC32C = 0x03;
const TYPE_NOOP = 0x04;
const TYPE_UNIQUE_ID = 0x05;

const NO_CHECKSUM = new Uint8Array(4);

/** One form of a header, which is known by its first bytes. */
interface Form {
  readonly start: Uint8Array;
  /** The shortest length of such a header. */
  readonly least: number;
  /** The longest length of such a header. */
  readonly most: number;
  /** Like headerLength(), once the start is complete. Infinity for an invalid header. */
  readonly lengthOf: (bytes: Uint8Array) => number;
}

const decoder = new TextDecoder();
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

const FORMS: readonly Form[] = [
  {
    start: ascii("PROXY TCP4 "),
    least: "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".length,
    most: 107, // section 2.1
    lengthOf: (bytes) => addressesLineLength(bytes, missingInIpv4),
  },
  {
    start: ascii("PROXY TCP6 "),
    least: "PROXY TCP6 :: :: 0 0\r\n".length,
    most: 107,
    lengthOf: (bytes) => addressesLineLength(bytes, missingInIpv6OrIpv4),
  },
  {
    start: ascii("PROXY UNKNOWN"),
    least: "PROXY UNKNOWN\r\n".length,
    most: 107,
    lengthOf: unknownLineLength,
  },
  {
    start: ascii("\r\n\r\n\0\r\nQUIT\n"),
    least: BINARY_ADDRESSES,
    // The format allows 64 KiB, but a header should fit into one small segment
    // (section 2). This limits the memory that a client can take before its header ends.
    most: 4096,
    lengthOf: binaryLength,
  },
];

/**
 * The length of the shortest header that begins with the bytes read so far. If there are
 * as many bytes, or more, the header is complete, and this is its length. If there are
 * fewer, the missing bytes can be read without reading past the header.
 *
 * Nothing is decoded here: the receiver must wait for the whole header to do that
 * (section 2.1). But it should abort as soon as a line cannot become valid. Version 2
 * has its length in its first 16 bytes; parseHeader() checks the others.
 *
 * @returns undefined if no valid header begins with these bytes.
 */
export function headerLength(bytes: Uint8Array): number | undefined {
  let length = Infinity;
  for (const form of FORMS) {
    if (!agrees(bytes, form.start)) continue;
    const isThere = bytes.length >= form.start.length;
    const own = isThere ? form.lengthOf(bytes) : form.least;
    if (own <= form.most) length = Math.min(length, own);
  }
  return length === Infinity ? undefined : length;
}

/** Whether the bytes begin with `start`, or `start` begins with the bytes. */
function agrees(bytes: Uint8Array, start: Uint8Array): boolean {
  const length = Math.min(bytes.length, start.length);
  for (let i = 0; i < length; i++) {
    if (bytes[i] !== start[i]) return false;
  }
  return true;
}

/**
 * Parses a complete header. The result refers to the bytes, which must not be changed
 * afterwards.
 *
 * @returns undefined if the bytes are not exactly one header, or if it is malformed or
 * not supported. Then the connection must be closed.
 */
export function parseHeader(bytes: Uint8Array): ParsedHeader | undefined {
  if (headerLength(bytes) !== bytes.length) return undefined;
  if (bytes[0] !== CR) return new TextHeader(bytes);
  return hasValidTlvs(bytes) ? new BinaryHeader(bytes) : undefined;
}

// Version 1

/** How many characters an address or a port lacks: see ip_address.ts. */
type Missing = (bytes: Uint8Array, from: number, to: number) => number;

const missingInPort: Missing = (bytes, from, to) =>
  missingInDecimal(bytes, from, to, 65535);

/** nginx sends TCP6 if the client's address is IPv6. The other address may be IPv4. */
const missingInIpv6OrIpv4: Missing = (bytes, from, to) =>
  Math.min(missingInIpv6(bytes, from, to), missingInIpv4(bytes, from, to));

function addressesLineLength(
  bytes: Uint8Array,
  missingInAddress: Missing,
): number {
  // The shortest text after each field: " :: 0 0\r\n", " 0 0\r\n" and so on.
  const after = [missingInAddress(bytes, 0, 0) + 7, 6, 4, 2];
  let at = TEXT_ADDRESSES;
  for (let field = 0; field < 4; field++) {
    const missingIn = field < 2 ? missingInAddress : missingInPort;
    const separator = bytes.indexOf(field < 3 ? SPACE : CR, at);
    const end = separator === -1 ? bytes.length : separator;
    const missing = missingIn(bytes, at, end);
    if (separator === -1) return end + missing + after[field]!;
    if (missing > 0) return Infinity;
    at = end + 1;
  }
  return bytes.length === at || bytes[at] === LF ? at + 1 : Infinity;
}

/** The receiver must ignore everything before CR LF (section 2.1), also a single CR or LF. */
function unknownLineLength(bytes: Uint8Array): number {
  let cr = "PROXY UNKNOWN".length - 1;
  do {
    cr = bytes.indexOf(CR, cr + 1);
    if (cr === -1) return bytes.length + "\r\n".length;
  } while (cr + 1 < bytes.length && bytes[cr + 1] !== LF);
  return cr + "\r\n".length;
}

class TextHeader implements ParsedHeader {
  readonly version = 1;
  readonly command = "PROXY";
  readonly tlvs: Tlv[] = [];
  readonly #bytes: Uint8Array;
  #source: Deno.NetAddr | undefined;
  #destination: Deno.NetAddr | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get source(): Deno.NetAddr | undefined {
    return this.#source ??= this.#endpoint(0);
  }

  get destination(): Deno.NetAddr | undefined {
    return this.#destination ??= this.#endpoint(1);
  }

  #endpoint(which: 0 | 1): Deno.NetAddr | undefined {
    const line = decoder.decode(this.#bytes);
    if (line.startsWith("PROXY UNKNOWN")) return undefined;
    const fields = line.slice(TEXT_ADDRESSES, -"\r\n".length).split(" ");
    const address = fields[which]!;
    return {
      transport: "tcp",
      hostname: address.includes(":")
        ? formatIpv6(ipv6Groups(address))
        : address,
      port: Number(fields[2 + which]),
    };
  }
}

// Version 2

function binaryLength(bytes: Uint8Array): number {
  const [command, , high = 0, low = 0] = bytes.subarray(12, BINARY_ADDRESSES);
  if (command !== undefined && command !== LOCAL && command !== PROXY) {
    return Infinity;
  }
  const addresses = bytes.length < 14 ? 0 : addressesLength(bytes);
  if (addresses === undefined) return Infinity;
  const announced = high << 8 | low;
  if (announced < addresses && bytes.length >= BINARY_ADDRESSES) {
    return Infinity;
  }
  return BINARY_ADDRESSES + Math.max(announced, addresses);
}

/**
 * The length of the addresses. With LOCAL, the family is ignored (section 2.2).
 *
 * @returns 0 if the header's addresses are ignored; undefined if they are not supported.
 */
function addressesLength(bytes: Uint8Array): number | undefined {
  return bytes[12] === LOCAL ? 0 : ADDRESSES_LENGTH.get(bytes[13]!);
}

/**
 * Where each TLV begins. A header without addresses has no TLVs: with LOCAL, the whole
 * block must be discarded, and the addresses of a family that is not specified have an
 * unknown length (section 2.2).
 *
 * @returns undefined if the TLVs do not end where the header ends.
 */
function tlvStarts(bytes: Uint8Array): number[] | undefined {
  const addresses = addressesLength(bytes)!;
  if (addresses === 0) return [];
  const starts: number[] = [];
  let at = BINARY_ADDRESSES + addresses;
  while (at < bytes.length) {
    starts.push(at);
    at += 3 + uint16(bytes, at + 1); // beyond the end, also if the length is cut off
  }
  return at === bytes.length ? starts : undefined;
}

function hasValidTlvs(bytes: Uint8Array): boolean {
  const starts = tlvStarts(bytes);
  if (starts === undefined) return false;
  let hasChecksum = false;
  for (const at of starts) {
    const length = uint16(bytes, at + 1);
    if (bytes[at] === TYPE_UNIQUE_ID && length > 128) return false; // section 2.2.5
    if (bytes[at] !== TYPE_CRC32C) continue;
    // Only one checksum is allowed, because each takes time for the whole header.
    if (hasChecksum || length !== 4 || !matches(bytes, at + 3)) return false;
    hasChecksum = true;
  }
  return true;
}

/** Whether the checksum is that of the header with zeros in its place (section 2.2.3). */
function matches(bytes: Uint8Array, at: number): boolean {
  const before = crc32c(bytes.subarray(0, at));
  const withZeros = crc32c(NO_CHECKSUM, before);
  const all = crc32c(bytes.subarray(at + 4), withZeros);
  return uint16(bytes, at) === all >>> 16 &&
    uint16(bytes, at + 2) === (all & 0xffff);
}

/** Reads a number in network byte order, as all numbers in the header are. */
function uint16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

class BinaryHeader implements ParsedHeader {
  readonly version = 2;
  readonly #bytes: Uint8Array;
  #source: Deno.NetAddr | undefined;
  #destination: Deno.NetAddr | undefined;
  #tlvs: Tlv[] | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get command(): "PROXY" | "LOCAL" {
    return this.#bytes[12] === LOCAL ? "LOCAL" : "PROXY";
  }

  get source(): Deno.NetAddr | undefined {
    return this.#source ??= this.#endpoint(0);
  }

  get destination(): Deno.NetAddr | undefined {
    return this.#destination ??= this.#endpoint(1);
  }

  #endpoint(which: 0 | 1): Deno.NetAddr | undefined {
    const length = addressesLength(this.#bytes)!;
    if (length === 0) return undefined;
    const size = length / 2 - 2; // of one address
    const address = BINARY_ADDRESSES + which * size;
    const port = BINARY_ADDRESSES + 2 * size + 2 * which;
    return {
      transport: "tcp",
      hostname: size === 4
        ? this.#bytes.subarray(address, address + 4).join(".")
        : formatIpv6(this.#groups(address)),
      port: uint16(this.#bytes, port),
    };
  }

  #groups(at: number): number[] {
    return Array.from(
      { length: 8 },
      (_, i) => uint16(this.#bytes, at + 2 * i),
    );
  }

  get tlvs(): Tlv[] {
    return this.#tlvs ??= tlvStarts(this.#bytes)!
      .map((at) => this.#tlv(at))
      .filter(({ type }) => type !== TYPE_NOOP); // section 2.2.4
  }

  #tlv(at: number): Tlv {
    const length = uint16(this.#bytes, at + 1);
    const value = this.#bytes.slice(at + 3, at + 3 + length);
    return { type: this.#bytes[at]!, value };
  }
}
