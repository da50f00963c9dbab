import { createHash } from "node:crypto";
import type { ExtensionTree } from "../extension/tree.ts";

/**
 * A UUID for the file system: equal for equal trees, different for different ones as far as names, modes and sizes
 * tell (btrfs cannot mount two file systems of one UUID).
 */
export function treeUuid(tree: ExtensionTree, purpose: string): string {
  const hash = createHash("sha256").update(`${purpose}\0${tree.name}\0`);
  for (const [path, node] of tree.nodes)
    hash.update(`${path}\0${node.type} ${node.mode} ${node.type === "file" ? node.content.size : ""}\0`);
  return formatUuid(hash.digest());
}

/** The first 16 bytes as a UUID of version 8 (RFC 9562). */
export function formatUuid(bytes: Uint8Array): string {
  const raw = Buffer.from(bytes.subarray(0, 16));
  raw[6] = (raw[6]! & 0x0f) | 0x80;
  raw[8] = (raw[8]! & 0x3f) | 0x80;
  const hex = raw.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
