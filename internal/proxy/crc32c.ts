/**
 * CRC32C: the checksum of RFC 4960, appendix B, of iSCSI and ext4. It is not the
 * CRC32 of zip and Ethernet, which has another polynomial.
 */

/** Castagnoli's polynomial 0x1EDC6F41, its bits in reverse: the lowest bit goes first. */
const POLYNOMIAL = 0x82f63b78;

/** What each byte does to the checksum. Made when the first one is asked for. */
let table: Int32Array | undefined;

/**
 * The CRC32C of some bytes, or of some more of them.
 *
 * @param crc That of the bytes before these.
 */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  table ??= Int32Array.from({ length: 256 }, (_, byte) => effectOf(byte));
  crc = ~crc;
  for (let i = 0; i < bytes.length; i++) {
    crc = table[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  }
  return ~crc >>> 0; // to a number that is not negative
}

function effectOf(byte: number): number {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) {
    crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  }
  return crc;
}
