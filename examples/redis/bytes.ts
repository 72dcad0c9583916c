/** Bytes, and strings that have one character for each byte. */
import { Buffer } from "node:buffer";

/** The bytes as characters. */
export function text(bytes: Uint8Array): string {
  const { buffer, byteOffset, length } = bytes;
  // For a few bytes a loop is faster.
  if (length > 64) {
    return Buffer.from(buffer, byteOffset, length).toString("latin1");
  }
  let string = "";
  for (let i = 0; i < length; i++) string += String.fromCharCode(bytes[i]!);
  return string;
}

/** The characters as bytes. */
export function bytes(string: string): Uint8Array {
  return new Uint8Array(Buffer.from(string, "latin1"));
}

/** The bytes in a buffer of another size. The old buffer cannot be used any more. */
export function resize(bytes: Uint8Array<ArrayBuffer>, size: number) {
  return new Uint8Array(bytes.buffer.transfer(size));
}
