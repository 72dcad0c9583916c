/**
 * When the listener drains, how long a client that has said nothing may take to begin,
 * in ms.
 */
export const LAST_CALL = 1000;
