import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { decodeName, encodeName } from "../../src/core/names.ts";
import { type ExtPath, extPath, rootPath } from "../../src/core/paths.ts";
import type { Action, Plan } from "../../src/extension/plan.ts";
import { type ExtensionTree, buildTree } from "../../src/extension/tree.ts";
import { type MemoryEntry, memoryRootfs } from "../../src/oci/memory-rootfs.ts";

/** `type mode uid:gid [size hash | -> target] [xattr=hex …]` of every path: two trees are equal when these are. */
export type Listing = Record<string, string>;

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

/** What the tree promises. */
export async function listTree(tree: ExtensionTree): Promise<Listing> {
  const listing: Listing = {};
  const first = new Map<unknown, string>();
  for (const [path, node] of tree.nodes) {
    const bytes = node.type === "file" ? await buffer(node.content.stream()) : undefined;
    const body =
      node.type === "symlink" ? `-> ${node.target}` : bytes === undefined ? "" : `${bytes.length} ${hash(bytes)}`;
    const xattrs = [...node.xattrs].map(([name, value]) => `${name}=0x${Buffer.from(value).toString("hex")}`);
    const same = node.type === "file" ? (first.get(node) ?? path) : path;
    first.set(node, same);
    listing[path] = [
      node.type,
      node.mode.toString(8),
      `${node.uid}:${node.gid}`,
      body,
      ...xattrs,
      same === path ? "" : `= ${same}`,
    ]
      .join(" ")
      .trim();
  }
  return listing;
}

/** What the kernel shows of a folder (a mount, or an extracted image); read with names as bytes. */
export function listFolder(folder: string): Listing {
  const xattrs = listXattrs(folder);
  const listing: Listing = {};
  const first = new Map<number, ExtPath>();
  const visit = (at: ExtPath): void => {
    const place = Buffer.concat([Buffer.from(folder), encodeName(at)]);
    const stat = lstatSync(place);
    const type = stat.isSymbolicLink()
      ? "symlink"
      : stat.isDirectory()
        ? "directory"
        : stat.isFile()
          ? "file"
          : "other";
    const body =
      type === "symlink"
        ? `-> ${decodeName(readlinkSync(place, "buffer"))}`
        : type === "file"
          ? `${stat.size} ${hash(readFileSync(place))}`
          : "";
    const mode = type === "symlink" ? "777" : (stat.mode & 0o7777).toString(8);
    const same = type === "file" ? (first.get(stat.ino) ?? at) : at;
    first.set(stat.ino, same);
    listing[at] = [type, mode, `${stat.uid}:${stat.gid}`, body, ...(xattrs[at] ?? []), same === at ? "" : `= ${same}`]
      .join(" ")
      .trim();
    if (type !== "directory") return;
    for (const name of readdirSync(place, { encoding: "buffer" }).sort(Buffer.compare))
      // mkfs.ext4 makes it; the kernel needs it nowhere.
      if (at !== "/" || name.toString() !== "lost+found")
        visit(`${at === "/" ? "" : at}/${decodeName(name)}` as ExtPath);
  };
  visit(extPath("/"));
  return listing;
}

/** Extended attributes by getfattr, whose octal escapes are undone. */
function listXattrs(folder: string): Record<string, string[]> {
  const dump = execFileSync("getfattr", ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."], { cwd: folder });
  const found: Record<string, string[]> = {};
  let at = "";
  for (const line of dump.toString("latin1").split("\n")) {
    const file = /^# file: (.*)$/.exec(line)?.[1];
    if (file !== undefined) {
      const bytes = file.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
      at = decodeName(Buffer.from(bytes === "." ? "/" : `/${bytes}`, "latin1"));
    } else if (line !== "") (found[at] ??= []).push(line);
  }
  return found;
}

/** A capability (`cap_net_raw=ep`) as the kernel stores it: struct vfs_cap_data of linux/capability.h, revision 2. */
export const netRaw = Buffer.from("0100000200200000000000000000000000000000", "hex");

/** A tree with everything a packer can get wrong. */
export function hardTree(name = "hard"): ExtensionTree {
  const big = Buffer.alloc(3 * 1024 * 1024);
  for (let i = 0; i < big.length; i++) big[i] = (i * i) >> 7;
  const entries: Record<string, MemoryEntry> = {
    "/usr/bin/cap": { content: "capable", mode: 0o755, xattrs: new Map([["security.capability", netRaw]]) },
    "/usr/bin/su": { content: "suid", mode: 0o4755 },
    "/usr/lib/owned": { content: "owned", mode: 0o640, uid: 1234, gid: 65_537 },
    "/usr/lib/highest": { content: "", mode: 0o644, uid: 4_000_000, gid: 4_000_001 },
    "/usr/lib/closed": { type: "directory", mode: 0o700, uid: 1234, gid: 7 },
    "/usr/lib/closed/none": { content: "secret", mode: 0 },
    "/usr/lib/sparse": { content: Buffer.alloc(1_000_000), mode: 0o644 },
    "/usr/lib/big": { content: big, mode: 0o755 },
    "/usr/lib/empty": { type: "directory", mode: 0o1777 },
    "/usr/lib/block": { content: Buffer.alloc(131_072, 1) },
    "/usr/lib/dangling": { target: "../../no/where" },
    "/usr/lib/absolute": { target: "/usr/bin/cap" },
    [`/usr/lib/${"d".repeat(100)}/${"e".repeat(100)}/${"f".repeat(254)}`]: "deep",
    "/usr/lib/name with space\n\t\\'\"$": "odd",
    "/usr/lib/ünï-ç": { target: "zïel" },
    "/opt/x/y": "opt",
    "/usr/lib/git": { content: "many names", mode: 0o755 },
    "/usr/lib/git-add": { hardlink: "/usr/lib/git" },
    "/usr/lib/zz-git": { hardlink: "/usr/lib/git" },
  };
  const source = memoryRootfs(entries);
  const copies = Object.keys(entries).map((path): Action => ({
    kind: "copy",
    from: source.lookup(rootPath(path))!,
    to: extPath(path),
    why: "copied",
  }));
  const made: Action[] = [
    { kind: "write", to: "/usr/lib/raw\udcff\udc80name" as ExtPath, content: Buffer.from("raw"), mode: 0o600, why: "" },
    { kind: "symlink", to: extPath("/usr/lib/raw-link"), target: "raw\udcff\udc80name", why: "" },
    {
      kind: "write",
      to: extPath(`/usr/lib/extension-release.d/extension-release.${name}`),
      content: Buffer.from("ID=_any\nARCHITECTURE=x86-64\nFLIXWRAP_VERSION=0\n"),
      mode: 0o644,
      why: "",
    },
  ];
  const plan: Plan = { source, actions: [...copies, ...made], warnings: [] };
  return buildTree(plan, { name, ownership: "keep", allowSuid: true });
}
