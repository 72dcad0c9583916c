/** What is asked of `serveTls()`. It is looked at before a client comes. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  createServer,
  type SecureContext,
  Server,
  type TlsOptions,
} from "node:tls";
import { toError } from "../util/failures.ts";

/** How long a handshake may take, in ms: as with `listen()`. */
const HANDSHAKE_TIMEOUT = 30_000;

/** The options of {@linkcode serveTls}: those of `tls.createServer()`. */
export interface ServeTlsOptions extends TlsOptions {
  /** Has the certificate, its key and the `ca`, in place of `cert`, `key` and `ca`. */
  secureContext?: SecureContext | undefined;
}

/** Makes a server of options. A server that is given is used as it is. */
export function serverOf(given: ServeTlsOptions | Server): Server {
  checkVersion();
  if (given instanceof Server) return given;
  if (typeof given !== "object" || given === null) {
    refuse(`'options' must be an object or a tls.Server: received ${given}`);
  }
  const { secureContext, ...own } = given;
  const options: TlsOptions = {
    handshakeTimeout: HANDSHAKE_TIMEOUT,
    ...secureContext?.context,
    ...own,
  };
  checkCertificate(options);
  checkClientCertificates(options);
  return createServer(options);
}

/** Before that version, `node:tls` cannot be the server on a connection. */
export function checkVersion(): void {
  const { deno } = Deno.version;
  const [major = 0, minor = 0] = deno.split(".").map(Number);
  if (major > 2 || (major === 2 && minor >= 9)) return;
  throw new Deno.errors.NotSupported(
    `Cannot serve TLS as it needs Deno 2.9 or later: this is ${deno}`,
  );
}

/** Deno says nothing about a certificate that it cannot use: each handshake fails. */
function checkCertificate(options: TlsOptions): void {
  const { cert, key, pfx, passphrase, SNICallback } = options;
  if (pfx || SNICallback && !cert && !key) return;
  if (!cert || !key) {
    refuse("'cert' and 'key' must be given, or 'pfx', or 'SNICallback'");
  }
  if (Array.isArray(cert) || Array.isArray(key)) return;
  let isPair;
  try {
    const privateKey = createPrivateKey({
      key,
      ...passphrase && { passphrase },
    });
    isPair = new X509Certificate(cert).checkPrivateKey(privateKey);
  } catch (error) {
    refuse(`'cert' and 'key' must be PEM: ${toError(error).message}`);
  }
  if (!isPair) refuse("'key' must be the key of 'cert'");
}

/** What cannot be had must not look as if it could. */
function checkClientCertificates(options: TlsOptions): void {
  const { requestCert, rejectUnauthorized, ca, crl, SNICallback } = options;
  if (crl) {
    throw new Deno.errors.NotSupported(
      "Cannot serve TLS as Deno ignores 'crl'",
    );
  }
  const isRequired = requestCert && rejectUnauthorized !== false;
  if (isRequired && !ca && !SNICallback) {
    refuse(
      "'ca' must be given with 'requestCert': Deno has no authorities of its own for clients",
    );
  }
}

function refuse(why: string): never {
  throw new TypeError(`Cannot serve TLS as ${why}`);
}
