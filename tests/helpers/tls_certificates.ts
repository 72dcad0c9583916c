/** Certificates for tests of TLS with names and clients: tests/testdata/tls. */

/** A certificate and its key. */
export interface Pair {
  cert: string;
  key: string;
}

/** Reads a certificate. */
export function certificate(name: string): string {
  const url = new URL(`../testdata/tls/${name}.crt`, import.meta.url);
  return Deno.readTextFileSync(url);
}

/** Reads a certificate with a key, which may be of another one. */
export function pair(name: string, keyOf = name): Pair {
  const url = new URL(`../testdata/tls/${keyOf}.key`, import.meta.url);
  return { cert: certificate(name), key: Deno.readTextFileSync(url) };
}

/** Who has signed the servers' certificates, and those of Alice and Bob. */
export const AUTHORITY: string = certificate("authority");
