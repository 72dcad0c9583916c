/** The PROXY protocol's header: random ones, and random changes of them. */
import { assert, assertEquals } from "@std/assert";
import { headerLength, parseHeader } from "../../internal/proxy/header.ts";
import {
  binary,
  bytes,
  canonical,
  hexByte,
  NEXT_BYTES,
  random,
  randomGroups,
  seal,
  spelled,
  tlv,
  told,
} from "../helpers/proxy_headers.ts";

type Next = (limit: number) => number;

/** Two ends of a connection: their addresses, their ports, and how they are told. */
function anyEnds(next: Next) {
  const is6 = next(2) === 0;
  const groups = [randomGroups(next), randomGroups(next)];
  const addresses = is6
    ? groups
    : groups.map((all) => all.slice(0, 4).map((group) => group & 255));
  const ports = groups.map(() => next(3) === 0 ? next(10) : next(65536));
  const told = addresses.map((address, i) => {
    const text = is6 ? canonical(spelled(address, next)) : address.join(".");
    return `tcp ${text} ${ports[i]}`;
  });
  return { is6, addresses, ports, told: told.join(", ") };
}

/** A header of random parts, and what it says. */
function anyHeader(next: Next): [Uint8Array, string] {
  return next(2) === 0 ? anyLine(next) : anyBinary(next);
}

function anyLine(next: Next): [Uint8Array, string] {
  const { is6, addresses, ports, told } = anyEnds(next);
  const texts = addresses.map((address) =>
    is6 ? spelled(address, next) : address.join(".")
  );
  const fields = [is6 ? "TCP6" : "TCP4", ...texts, ...ports];
  const line = `PROXY ${fields.join(" ")}\r\n`;
  return [bytes(line), line.length > 107 ? "refused" : `1 PROXY, ${told}`];
}

function anyBinary(next: Next): [Uint8Array, string] {
  const { is6, addresses, ports, told } = anyEnds(next);
  const word = (value: number) => hexByte(value >> 8) + hexByte(value & 255);
  const parts = [
    ...addresses.flat().map(is6 ? word : hexByte),
    ...ports.map(word),
  ];
  const says = [`2 PROXY, ${told}`];
  for (let count = next(5); count > 0; count--) {
    const type = 0x20 + next(224);
    const bytes = Array.from({ length: next(40) }, () => next(256));
    const value = bytes.map(hexByte).join("");
    parts.push(tlv(type, value));
    says.push(`${type}=${value}`);
  }
  const isSealed = next(2) === 0;
  if (isSealed) parts.push(tlv(0x03, "00000000"));
  const header = binary(is6 ? "2121" : "2111", parts.join(""));
  if (isSealed) says.push(`3=${seal(header).slice(-4).toHex()}`);
  return [header, says.join(", ")];
}

Deno.test("parseHeader() gives what any header was made of", () => {
  const next = random(4);
  for (let round = 0; round < 10_000; round++) {
    const [header, expected] = anyHeader(next);
    assertEquals(told(parseHeader(header)), expected);
  }
});

Deno.test("headerLength() lets a reader take a header and nothing of what follows", () => {
  const next = random(5);
  for (let round = 0; round < 5000; round++) {
    const [header, expected] = anyHeader(next);
    const sent = Uint8Array.from([...header, ...bytes("1 2\r\n\r\n")]);
    let taken = 0;
    let length = headerLength(sent.subarray(0, 0));
    while (length !== undefined && length > taken) {
      taken += 1 + next(length - taken); // a read may give less
      length = headerLength(sent.subarray(0, taken));
    }
    const isWhole = length !== undefined && taken === header.length;
    assertEquals(isWhole, expected !== "refused");
  }
});

/** Whether a line is one of version 1, by means that have nothing in common. */
function isLine(line: string): boolean {
  if (line.length > 107 || line.indexOf("\r\n") !== line.length - 2) {
    return false;
  }
  if (line.startsWith("PROXY UNKNOWN")) return true;
  const match =
    /^PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n$/.exec(
      line,
    );
  if (match === null) return false;
  const [, family, a, b, p, q] = match as string[];
  const v4 = /^(?:(?:25[0-5]|2[0-4]\d|1?[1-9]\d|1\d\d|\d)(?:\.(?!$)|$)){4}$/;
  const isAddress = (text: string) =>
    v4.test(text) || family === "6" && canonical(text) !== undefined;
  return isAddress(a!) && isAddress(b!) && Number(p) < 65536 &&
    Number(q) < 65536;
}

/** Changes, removes or adds some bytes of a header. */
function mutated(
  header: Uint8Array,
  next: Next,
): Uint8Array {
  const isText = header[0] === 0x50;
  const some = [...header];
  const inPlace = next(2) === 0;
  for (let change = next(4); change >= 0; change--) {
    const byte = isText && next(4) > 0
      ? NEXT_BYTES[next(NEXT_BYTES.length)]!
      : next(256);
    const at = next(some.length + 1);
    if (inPlace) some.splice(at, 1, byte);
    else some.splice(at, next(3), ...(next(2) ? [byte] : []));
  }
  return Uint8Array.from(some);
}

Deno.test("parseHeader() takes of lines that were changed exactly those that are still valid", () => {
  const next = random(6);
  let valid = 0;
  for (let round = 0; round < 20_000; round++) {
    const [header] = anyHeader(next);
    if (header[0] !== 0x50) continue;
    const changed = mutated(header, next);
    const line = String.fromCharCode(...changed);
    const parsed = parseHeader(changed);
    assertEquals([line, parsed !== undefined], [line, isLine(line)]);
    if (parsed !== undefined) valid++;
  }
  assert(valid > 500, `${valid}`);
});

Deno.test("parseHeader() never throws, and neither does what it gives", () => {
  const next = random(7);
  for (let round = 0; round < 20_000; round++) {
    const [header] = anyHeader(next);
    const changed = mutated(header, next);
    const length = headerLength(changed);
    assert(length === undefined || length >= 15 && length <= 4096);
    const cut = changed.subarray(0, length);
    if (length === cut.length) told(parseHeader(cut));
    told(parseHeader(changed));
  }
});
