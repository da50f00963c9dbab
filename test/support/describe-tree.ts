import { rootPath } from "../../src/core/paths.ts";
import type { RootNode, Rootfs } from "../../src/oci/rootfs.ts";
import { hashed } from "./layer-corpus.ts";

const letters: Readonly<Record<RootNode["type"], string>> = {
  file: "f",
  directory: "d",
  symlink: "l",
  "character-device": "c",
  "block-device": "b",
  fifo: "p",
};

/**
 * A root as lines: `f /path CONTENT`, `l /path -> TARGET`, `d /path`, with whatever is not usual behind (mode=,
 * owner=, mtime=, xattrs) and `=/first` for the second name of a hard-linked file. The root only when it is unusual.
 */
export function describeTree(rootfs: Rootfs): string[] {
  const seen = new Map<string, string>();
  const lines: string[] = [];
  for (const node of rootfs.walk(rootPath("/"))) {
    const parts = [letters[node.type], node.path];
    if (node.type === "file") parts.push(contentOf(rootfs, node));
    if (node.target !== undefined) parts.push("->", node.target);
    if (node.device !== undefined) parts.push(`${node.device.major}:${node.device.minor}`);
    const usual = { file: 0o644, directory: 0o755, symlink: 0o777 }[node.type as "file"];
    if (node.mode !== usual) parts.push(`mode=${node.mode.toString(8)}`);
    if (node.uid !== 0 || node.gid !== 0) parts.push(`owner=${node.uid}:${node.gid}`);
    const { seconds, nanoseconds } = node.mtime;
    const isDated = seconds !== 0 || nanoseconds !== 0;
    if (isDated) parts.push(`mtime=${seconds}.${`${nanoseconds}`.padStart(9, "0")}`);
    for (const [key, value] of node.xattrs) parts.push(`${key}=${Buffer.from(value).toString("hex")}`);
    const first = seen.get(node.identity);
    if (first === undefined) seen.set(node.identity, node.path);
    else parts.push(`=${first}`);
    if (node.path !== "/" || parts.length > 2) lines.push(parts.filter((part) => part !== "").join(" "));
  }
  return lines;
}

function contentOf(rootfs: Rootfs, node: RootNode): string {
  return hashed(Buffer.from(rootfs.open(node).read(0, node.size)));
}
