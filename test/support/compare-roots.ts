import { createHash } from "node:crypto";
import { rootPath } from "../../src/core/paths.ts";
import type { RootNode, Rootfs } from "../../src/oci/rootfs.ts";

/** Whatever two roots can differ in, one line for each path. */
export function fingerprint(rootfs: Rootfs, options: { readonly times?: boolean } = {}): string[] {
  const names = new Map<string, string>();
  return Array.from(rootfs.walk(rootPath("/")), (node) => {
    const first = node.type === "directory" ? undefined : names.get(node.identity);
    if (first === undefined) names.set(node.identity, node.path);
    const xattrs = [...node.xattrs].map(([key, value]) => `${key}=${Buffer.from(value).toString("hex")}`).sort();
    return [
      ...[node.path, node.type, node.mode.toString(8), node.uid, node.gid, node.size, node.target ?? ""],
      ...[node.device?.major ?? "", node.device?.minor ?? "", first ?? contentHash(rootfs, node), ...xattrs],
      ...(options.times === false ? [] : [`${node.mtime.seconds}.${node.mtime.nanoseconds}`]),
    ].join(" ");
  });
}

function contentHash(rootfs: Rootfs, node: RootNode): string {
  if (node.type !== "file") return "";
  const hash = createHash("sha1");
  const source = rootfs.open(node);
  for (let at = 0; at < node.size; at += 1 << 20) hash.update(source.read(at, 1 << 20));
  return hash.digest("hex");
}
