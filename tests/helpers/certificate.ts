/** What tests of TLS listen with: for localhost, and nobody trusts it unasked. */
const read = (name: string) =>
  Deno.readTextFileSync(new URL(`../testdata/${name}`, import.meta.url));

export const CERTIFICATE: { cert: string; key: string } = {
  cert: read("localhost.crt"),
  key: read("localhost.key"),
};
