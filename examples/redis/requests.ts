/** The requests of RESP2, the protocol of Redis: bytes in, commands out. */
import { bytes, resize, text } from "./bytes.ts";

/** What the client sends is not RESP: it is told so and closed. */
export class ProtocolError extends Error {}

const CHUNK = 16 * 1024;
const MAX_LINE = 64 * 1024;
const MAX_ARGUMENTS = 1024 * 1024;
/** The most bytes of a request, which is Redis's limit of a value. */
const MAX_REQUEST = 512 * 1024 * 1024;

/** Splits the bytes of a connection into commands. */
export class Requests {
  #bytes = new Uint8Array(CHUNK);
  #start = 0; // of the bytes that are not parsed yet
  #end = 0; // of the bytes that were read
  #args: Uint8Array[] = []; // of the command that is being read
  #missing = 0; // arguments that are not read yet
  #length = -1; // of the next argument; -1 before it is known
  #size = 0; // of all arguments

  /**
   * Reads more bytes; false at the end. The buffer grows by what was read, not by the
   * length that a client announces.
   */
  async read(conn: Deno.Conn): Promise<boolean> {
    this.#bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    const size = this.#bytes.length;
    if (this.#end === size) this.#bytes = resize(this.#bytes, 2 * size);
    else if (this.#end < CHUNK && size > CHUNK) {
      this.#bytes = resize(this.#bytes, CHUNK);
    }
    const length = await conn.read(this.#bytes.subarray(this.#end));
    this.#end += length ?? 0;
    return length !== null;
  }

  /** The next command, if it is complete. */
  next(): Uint8Array[] | undefined {
    for (;;) {
      if (this.#length >= 0) {
        const end = this.#start + this.#length;
        if (this.#end < end + 2) return;
        this.#args.push(this.#bytes.slice(this.#start, end));
        this.#start = end + 2;
        this.#length = -1;
        if (--this.#missing === 0) return this.#args;
      }
      const line = this.#line();
      if (line === undefined) return;
      if (this.#missing > 0) {
        this.#expectArgument(line);
      } else if (line[0] === "*") {
        this.#missing = integer(line, MAX_ARGUMENTS, "multibulk");
        this.#args = [];
        this.#size = 0;
      } else {
        const args = splitInline(line);
        if (args.length > 0) return args;
      }
    }
  }

  #expectArgument(line: string): void {
    if (line[0] !== "$") {
      throw new ProtocolError(`expected '$', got '${line[0] ?? " "}'`);
    }
    this.#length = integer(line, MAX_REQUEST - this.#size, "bulk");
    if (this.#length < 0) throw new ProtocolError("invalid bulk length");
    this.#size += this.#length;
  }

  #line(): string | undefined {
    const here = this.#bytes.subarray(this.#start, this.#end);
    const end = here.indexOf(10);
    if (end > MAX_LINE || end < 0 && here.length > MAX_LINE) {
      const what = this.#missing > 0 ? "bulk count string" : here[0] === 42 // an asterisk
        ? "mbulk count string"
        : "inline request";
      throw new ProtocolError(`too big ${what}`);
    }
    if (end < 0) return;
    this.#start += end + 1;
    return text(here.subarray(0, here[end - 1] === 13 ? end - 1 : end));
  }
}

function integer(line: string, max: number, what: string): number {
  const value = /^.(0|-?[1-9]\d{0,14})$/.test(line)
    ? Number(line.slice(1))
    : NaN;
  if (!(value <= max)) throw new ProtocolError(`invalid ${what} length`);
  return value;
}

/** Splits a line that was typed: words, 'as they are' or "with \x00 and \n". */
function splitInline(line: string): Uint8Array[] {
  const word =
    /[\t-\r ]*(?:"((?:\\[^]|[^"\\])*)"|'((?:\\'|[^'])*)'|([^\t-\r "']+)|$)(?![^\t-\r ])/y;
  const args: Uint8Array[] = [];
  for (;;) {
    const match = word.exec(line);
    if (match === null) throw new ProtocolError("unbalanced quotes in request");
    const [, double, single, plain] = match;
    const arg = plain ?? single?.replaceAll("\\'", "'") ??
      double?.replace(/\\(?:x([\da-f]{2})|([^]))/gi, unescape);
    if (arg === undefined) return args;
    args.push(bytes(arg));
  }
}

function unescape(_: string, hex: string | undefined, char: string): string {
  if (hex) return String.fromCharCode(parseInt(hex, 16));
  return { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" }[char] ?? char;
}
