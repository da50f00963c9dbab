import { createHash } from "node:crypto";
import { hashUuid } from "../core/uuid.ts";
import type { ExtensionTree } from "../extension/tree.ts";

/**
 * A UUID for the file system: equal for equal trees, different for different ones as far as names, modes and sizes
 * tell (btrfs cannot mount two file systems of one UUID).
 */
export function treeUuid(tree: ExtensionTree, purpose: string): string {
  const hash = createHash("sha256").update(`${purpose}\0${tree.name}\0`);
  for (const [path, node] of tree.nodes)
    hash.update(`${path}\0${node.type} ${node.mode} ${node.type === "file" ? node.content.size : ""}\0`);
  return hashUuid(hash.digest());
}
