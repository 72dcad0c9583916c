/** Bytes, and strings that have one character for each byte. */

/** The bytes as characters. */
export function text(bytes: Uint8Array): string {
  let string = "";
  for (let i = 0; i < bytes.length; i++) {
    string += String.fromCharCode(bytes[i]!);
  }
  return string;
}

/** The characters as bytes. */
export function bytes(string: string): Uint8Array {
  return Uint8Array.from(string, (char) => char.charCodeAt(0));
}

/** The bytes in a buffer of another size; the old one is gone. */
export function resize(bytes: Uint8Array<ArrayBuffer>, size: number) {
  return new Uint8Array(bytes.buffer.transfer(size));
}
