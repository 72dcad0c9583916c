/**
 * A registry in JSR's format that has this package as `deno publish` would
 * upload it, and nothing else.
 */
const ROOT = new URL("../..", import.meta.url);
export const { name, version, exports } = JSON.parse(
  await Deno.readTextFile(new URL("deno.json", ROOT)),
);

/** The files that `deno publish` would upload, by its own word. */
export async function publishedFiles(): Promise<
  Map<string, Uint8Array<ArrayBuffer>>
> {
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty", "--no-check"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const listed = new TextDecoder().decode(stderr).matchAll(
    /^\s+(file:\S+) \(/gm,
  );
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [, url] of listed) {
    files.set(
      url!.slice(ROOT.href.length - 1),
      await Deno.readFile(new URL(url!)),
    );
  }
  return files;
}

/** A registry with one package, as JSR lays it out: two indexes, and the files. */
export async function serveRegistry() {
  const files = await publishedFiles();
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const [path, bytes] of files) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    manifest[path] = {
      size: bytes.length,
      checksum: `sha256-${digest.toHex()}`,
    };
  }
  const [scope, pkg] = name.slice(1).split("/");
  const indexes: Record<string, unknown> = {
    [`/${name}/meta.json`]: { scope, name: pkg, versions: { [version]: {} } },
    [`/${name}/${version}_meta.json`]: { manifest, exports },
  };
  const requests: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => {
      const { pathname } = new URL(request.url);
      requests.push(pathname);
      if (pathname in indexes) return Response.json(indexes[pathname]);
      const file = files.get(pathname.replace(`/${name}/${version}`, ""));
      if (!file) return new Response("Not found", { status: 404 });
      return new Response(file, {
        headers: { "content-type": "application/typescript" },
      });
    },
  );
  const url = `http://127.0.0.1:${server.addr.port}/`;
  return Object.assign(server, { url, files, requests });
}
