/** How much is read at once: little from most clients, more from those that send much. */

/** The first buffer: a request or a message of a handshake fits into it. */
export const SMALL = 4 * 1024;
const LARGE = 64 * 1024;

/** The size of the next buffer, when so much has come into one of this size. */
export function nextSize(size: number, length: number): number {
  if (length === size) return Math.min(size * 2, LARGE);
  return length < size / 4 ? Math.max(size / 2, SMALL) : size;
}
