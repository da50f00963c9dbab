import { type RootPath, rootPath } from "../../core/paths.ts";
import { compilePathGlob } from "../../loader/path-glob.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";

/** The nodes of the root whose paths match an absolute pattern; names below a linked folder match as they are written. */
export function* matchNodes(rootfs: Rootfs, pattern: string): Iterable<RootNode> {
  const parts = pattern.split("/");
  const magic = parts.findIndex((part) => /[*?[\]{}()!+@]/.test(part));
  const start = rootPath(parts.slice(0, magic < 0 ? parts.length : magic).join("/"));
  const folder = magic < 0 ? rootfs.lookup(start) : rootfs.resolve(start);
  if (folder === undefined) return;
  const matches = compilePathGlob(pattern);
  for (const node of rootfs.walk(folder.path)) {
    const written = folder.path === start ? node.path : asWritten(start, folder.path, node.path);
    if (matches(written)) yield node;
  }
}

const asWritten = (start: RootPath, folder: RootPath, path: RootPath): RootPath =>
  rootPath(start + path.slice(folder.length));
