/** Which clients a server of `node:tls` has verified. */
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { serverNameOf } from "./server_names.ts";

/** How many certificates are remembered for each context. */
const MAX_REMEMBERED = 10_000;

/**
 * Says whether a client is authorized, which Deno's `socket.authorized` does not. Deno
 * resumes a TLS session of any server of the process at any other, and takes the
 * certificate in it for verified. So a resumed session counts only if this server has
 * verified the same certificate in a full handshake, for the same name, with the same
 * context. A renewal makes a new context, and so forgets.
 */
export class ClientCertificates {
  readonly #verified = new WeakMap<object, Set<string>>();

  /**
   * Whether the client of a completed handshake has a certificate that this server has verified.
   *
   * @param socket The socket, whose handshake is complete.
   * @param context What the server has made the handshake with, if that is known.
   */
  isAuthorized(socket: TLSSocket, context: object | undefined): boolean {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined || !isValid(certificate)) return false;
    const key = `${serverNameOf(socket) ?? ""} ${certificate.fingerprint256}`;
    if (socket.isSessionReused()) {
      return context !== undefined && this.#has(context, key);
    }
    if (!socket.authorized) return false;
    if (context !== undefined) this.#add(context, key);
    return true;
  }

  #has(context: object, key: string): boolean {
    return this.#verified.get(context)?.has(key) ?? false;
  }

  #add(context: object, key: string): void {
    const keys = this.#verified.get(context) ?? new Set();
    this.#verified.set(context, keys);
    keys.delete(key); // so that it goes to the end
    keys.add(key);
    if (keys.size > MAX_REMEMBERED) keys.delete(keys.values().next().value!);
  }
}

/**
 * Whether a certificate is one that Deno verifies in full. It checks no dates of one that
 * is among the `ca`, and no signature by the key of one of X.509 version 1.
 */
function isValid({ raw, validFrom, validTo }: X509Certificate): boolean {
  const now = Date.now();
  return Date.parse(validFrom) <= now && now <= Date.parse(validTo) &&
    isVersion3(raw);
}

/** Reads `SEQUENCE { SEQUENCE { [0] { INTEGER 2 } …`; 2 is version 3. */
function isVersion3(der: Uint8Array): boolean {
  const start = contentOf(der, contentOf(der, 0));
  return [0xa0, 3, 2, 1, 2].every((byte, i) => der[start + i] === byte);
}

/** Where the content of a DER element begins: behind its tag and its length. */
function contentOf(der: Uint8Array, start: number): number {
  const length = der[start + 1] ?? 0;
  return start + 2 + (length < 0x80 ? 0 : length & 0x7f);
}
