/**
 * CRC32C, the checksum of RFC 4960, appendix B, of iSCSI and of ext4. The CRC32 of zip
 * and Ethernet has another polynomial.
 */

/** Castagnoli's polynomial 0x1EDC6F41 with its bits reversed, as the lowest bit goes first. */
const POLYNOMIAL = 0x82f63b78;

/** The effect of each byte on the checksum. Made at the first use. */
let table: Int32Array | undefined;

/**
 * Computes the CRC32C of bytes.
 *
 * @param crc The CRC32C of the bytes before these, to continue it.
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
