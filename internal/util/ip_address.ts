/**
 * IP addresses as text. While the bytes of an address arrive, it is known whether they
 * can still become valid, and how many are missing at least. So a PROXY header is refused
 * at its first wrong byte, and bytes that follow it are not read.
 */

const DOT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;

/**
 * How many more characters make the given ones a valid number, at least. The number is
 * decimal, without a sign or leading zeros, and at most `max`.
 *
 * @returns 0 for a valid number; Infinity if no valid number begins with the characters.
 */
export function missingInDecimal(
  bytes: Uint8Array,
  from: number,
  to: number,
  max: number,
): number {
  if (from === to) return 1;
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = bytes[i]! - ZERO;
    if (digit < 0 || digit > 9) return Infinity;
    if (i > from && value === 0) return Infinity; // it begins with a zero
    value = value * 10 + digit;
    if (value > max) return Infinity;
  }
  return 0;
}

/** The same for an IPv4 address: four numbers up to 255. */
export function missingInIpv4(
  bytes: Uint8Array,
  from: number,
  to: number,
): number {
  let more = 3;
  let start = from;
  for (let i = from; i < to; i++) {
    if (bytes[i] !== DOT) continue;
    if (more === 0 || missingInDecimal(bytes, start, i, 255) > 0) {
      return Infinity;
    }
    more--;
    start = i + 1;
  }
  return missingInDecimal(bytes, start, to, 255) + more * ".0".length;
}

/** The same for an IPv6 address in any form of RFC 4291, section 2.2. */
export function missingInIpv6(
  bytes: Uint8Array,
  from: number,
  to: number,
): number {
  if (from === to) return "::".length;
  let groups = 0;
  let gap = -1; // where the second colon of "::" is
  let start = from; // of the current group
  for (let i = from; i < to; i++) {
    if (bytes[i] !== COLON) continue;
    if (start < i) {
      if (!isGroup(bytes, start, i)) return Infinity;
      groups++;
    } else if (i > from) {
      if (gap !== -1) return Infinity; // a second "::", or ":::"
      gap = i;
    } else if (to > from + 1 && bytes[from + 1] !== COLON) {
      return Infinity; // one colon at the beginning
    }
    start = i + 1;
  }
  return missingInLastGroup(bytes, start, to, groups, gap);
}

/** What is missing in the last group, which may be empty, and after it. */
function missingInLastGroup(
  bytes: Uint8Array,
  start: number,
  to: number,
  groups: number,
  gap: number,
): number {
  const hasGap = gap !== -1;
  const most = hasGap ? 7 : 8; // "::" is one group at least
  if (start === to) {
    if (gap === to - 1 && groups <= most) return 0;
    return groups < most ? 1 : Infinity; // a digit, or the second colon
  }
  if (bytes.subarray(start, to).includes(DOT)) { // it stands for two groups
    const fits = hasGap ? groups + 2 <= most : groups + 2 === most;
    return fits ? missingInIpv4(bytes, start, to) : Infinity;
  }
  if (groups >= most || !isGroup(bytes, start, to)) return Infinity;
  return hasGap || groups + 1 === most ? 0 : "::".length;
}

/** Whether it is one to four hexadecimal digits. */
function isGroup(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from > 4) return false;
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    const isDigit = byte >= ZERO && byte <= 0x39;
    const letter = byte | 0x20; // in lower case
    if (!isDigit && (letter < 0x61 || letter > 0x66)) return false;
  }
  return true;
}

/** The eight groups of an IPv6 address that is valid. */
export function ipv6Groups(text: string): number[] {
  const [left, right] = text.split("::").map(groupsOf) as [number[], number[]?];
  if (right === undefined) return left;
  const zeros = Array<number>(8 - left.length - right.length).fill(0);
  return [...left, ...zeros, ...right];
}

function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return parseInt(group, 16);
    const [a, b, c, d] = group.split(".").map(Number);
    return [a! << 8 | b!, c! << 8 | d!];
  });
}

/**
 * An IPv6 address in its canonical form (RFC 5952): lower case, no leading zeros,
 * the first of the longest runs of zeros as "::" if it is two groups or more, and
 * an IPv4 address that is mapped in dotted form. It is how Deno shows addresses.
 */
export function formatIpv6(groups: readonly number[]): string {
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => !group)) {
    const [high, low] = groups.slice(6) as [number, number];
    return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  let longest = 1; // a single group of zeros stays
  let from = -1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > longest) [longest, from] = [end - start, start];
  }
  const hex = groups.map((group) => group.toString(16));
  if (from === -1) return hex.join(":");
  const left = hex.slice(0, from).join(":");
  return `${left}::${hex.slice(from + longest).join(":")}`;
}

/** The canonical form of an IPv6 address; undefined if the text is not one. */
export function canonicalIpv6(hostname: string): string | undefined {
  // A URL cannot have a zone, as in fe80::1%eth0. The zone does not change the family.
  const address = String(hostname).replace(/^\[(.*)\]$/, "$1").replace(
    /%.*$/,
    "",
  );
  const url = URL.parse(`http://[${address}]`);
  return url?.hostname.slice(1, -1);
}
