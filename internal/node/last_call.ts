/**
 * When the listener drains, how long a client that has said nothing may take to begin;
 * and when a connection is closed, how long its last bytes or its handler may take. In ms.
 */
export const LAST_CALL = 1000;
