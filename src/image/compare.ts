import { isSameContent } from "../core/bytes.ts";
import { printable } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/** One path in which two extensions differ. */
export interface Difference {
  readonly path: string;
  /** `first`, `second`: only there; otherwise in what they differ. */
  readonly what: "first" | "second" | readonly string[];
}

/**
 * Every path in which two extensions differ: type, mode, owner, link target, attributes, content. Times do not
 * count. No difference means that a host sees the same.
 */
export function* compareExtensions(first: Rootfs, second: Rootfs): Iterable<Difference> {
  const others = new Map([...second.walk(rootPath("/"))].map((node) => [node.path, node]));
  for (const node of first.walk(rootPath("/"))) {
    const other = others.get(node.path);
    others.delete(node.path);
    if (other === undefined) yield { path: node.path, what: "first" };
    else {
      const what = differences(first, node, second, other);
      if (what.length > 0) yield { path: node.path, what };
    }
  }
  for (const path of others.keys()) yield { path, what: "second" };
}

/** `/usr/bin/x: mode 0755 and 0700, content`, one line without control characters. */
export function wordDifference({ path, what }: Difference): string {
  return printable(`${path}: ${typeof what === "string" ? `only in the ${what}` : what.join(", ")}`);
}

function differences(first: Rootfs, a: RootNode, second: Rootfs, b: RootNode): string[] {
  const octal = (mode: number) => mode.toString(8).padStart(4, "0");
  const told: string[] = [];
  const differ = (what: string, x: string, y: string) => {
    if (x !== y) told.push(`${what} ${x} and ${y}`);
  };
  differ("type", a.type, b.type);
  if (a.type !== b.type) return told;
  if (a.type !== "symlink") differ("mode", octal(a.mode), octal(b.mode));
  differ("owner", `${a.uid}:${a.gid}`, `${b.uid}:${b.gid}`);
  differ("target", a.target ?? "", b.target ?? "");
  differ("device", deviceOf(a), deviceOf(b));
  for (const name of new Set([...a.xattrs.keys(), ...b.xattrs.keys()]))
    if (Buffer.compare(a.xattrs.get(name) ?? Buffer.of(), b.xattrs.get(name) ?? Buffer.of()) !== 0)
      told.push(`attribute ${name}`);
  if (a.type !== "file") return told;
  differ("size", String(a.size), String(b.size));
  if (a.size === b.size && !isSameContent(first.open(a), second.open(b))) told.push("content");
  return told;
}

const deviceOf = ({ device }: RootNode): string => (device === undefined ? "" : `${device.major}:${device.minor}`);
