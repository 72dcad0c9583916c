/**
 * The packages from npm that tests use. Their own types would bring another version of
 * Node's types along, for the whole program.
 */
// deno-lint-ignore-file no-explicit-any

/** npm:aedes, a broker. */
export const Aedes: any;
/** npm:smtp-server. */
export const SMTPServer: any;
/** npm:express, npm:mqtt, npm:nodemailer. */
declare const anything: any;
export default anything;
