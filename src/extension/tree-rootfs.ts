import { type ExtPath, baseName, parentOf } from "../core/paths.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { type FolderInode, type Inode, emptyFolder, treeRootfs } from "../oci/tree.ts";
import type { ExtensionTree, TreeNode } from "./tree.ts";

/** A finished tree seen as a root file system: what the checks, which also read foreign images, look at. */
export function extensionRootfs(tree: ExtensionTree): Rootfs {
  const folders = new Map<ExtPath, FolderInode>();
  const files = new Map<TreeNode, Inode>();
  for (const [path, node] of tree.nodes) {
    const inode = files.get(node) ?? inodeOf(node);
    if (node.type === "file") files.set(node, inode);
    if (inode.type === "directory") folders.set(path, inode);
    if (path !== "/") folders.get(parentOf(path))!.children.set(baseName(path), inode);
  }
  return treeRootfs(`extension ${tree.name}`, folders.get("/" as ExtPath) ?? emptyFolder());
}

function inodeOf(node: TreeNode): Inode {
  const { mode, uid, gid, xattrs } = node;
  const attributes = { mode, uid, gid, xattrs, mtime: { seconds: 0, nanoseconds: 0 } };
  if (node.type === "directory") return emptyFolder(attributes);
  if (node.type === "symlink") return { type: "symlink", target: node.target, ...attributes };
  return { type: "file", size: node.content.size, open: () => node.content, ...attributes };
}
