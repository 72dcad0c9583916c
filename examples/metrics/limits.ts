/** Constants of the workers and the main thread. */

/** The limits of each worker. */
export const LIMITS = { maxConnections: 1000, maxConnectionsPerPeer: 100 };

/** The channel over which workers report rejections. */
export const REJECTIONS = "rejections";
