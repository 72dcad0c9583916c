/** The patterns of KEYS. */

/**
 * Makes a RegExp of one of Redis's patterns: `*`, `?`, `[a-z]`, `[^a]`, `\*`. A lookahead
 * does not backtrack, so what a star has skipped is not tried again, and no pattern is slow.
 */
export function globToRegExp(glob: string): RegExp {
  const parts = [""];
  for (
    const [token] of glob.matchAll(/\*+|\[(?:\\[^]|[^\]])*\]?|\\?[^]/g)
  ) {
    if (token[0] === "*") parts.push("");
    else parts[parts.length - 1] += globToken(token);
  }
  const first = parts.shift(), last = parts.pop();
  const middle = parts.map((part, i) => `(?=([^]*?${part}))\\${i + 1}`);
  return RegExp(
    `^${first}${middle.join("")}${last === undefined ? "" : `[^]*${last}`}$`,
  );
}

function globToken(token: string): string {
  if (token === "?") return "[^]";
  if (token[0] !== "[") return RegExp.escape(token.at(-1)!);
  const [, not, body] = /^\[(\^?)([^]*?)\]?$/.exec(token)!;
  const ranges = body!.matchAll(/\\?([^])(?:-\\?([^]))?/g);
  const escaped = [...ranges].map(([, from = "", to = from]) =>
    [from, to].sort().map(RegExp.escape).join("-")
  );
  return `[${not}${escaped.join("")}]`;
}
