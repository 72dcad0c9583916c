/** The arguments with which nc sends a FIN when its input ends. */
export const NC_HALF_CLOSES: string[] = Deno.build.os === "darwin"
  ? [] // Apple's does so by itself, and takes -N for something else
  : ["-N"];
