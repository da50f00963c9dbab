import { randomBytes } from "node:crypto";
import { closeSync, createReadStream, createWriteStream, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { compilePathGlob } from "../loader/path-glob.ts";
import { decompress } from "../oci/decompress.ts";
import { descriptorSource } from "../oci/file-source.ts";
import { boundExpansion, usualExpansion } from "../oci/expansion.ts";
import { stackFiles } from "../oci/layers.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { emptyFolder, type FolderInode, type Inode, plainAttributes, treeRootfs } from "../oci/tree.ts";
import { hashFile, sizeOf } from "./cached-files.ts";
import { dataOfPackage } from "./deb.ts";
import type { ArchiveType } from "./format.ts";
import type { Artifact } from "./download.ts";
import { tarOfZip } from "./zip.ts";

/** How {@link openArchive} reads an artifact. */
export interface ArchiveOptions {
  readonly type: ArchiveType;
  /** Patterns of archives inside, whose contents are taken instead. */
  readonly inside: readonly string[];
  /** Leading folders taken off every path. */
  readonly strip: number;
  /** Folder for uncompressed copies. */
  readonly cache: string;
}

/** A downloaded file as a read-only root; close it when the extension is packed. */
export interface OpenArchive {
  readonly root: Rootfs;
  close(): void;
}

/** Real archives unpack to less than twenty times their size. */
const limits = { ...usualExpansion, ratio: 200 };

/**
 * A downloaded file as a root that was never unpacked: every archive becomes an uncompressed tar in the cache,
 * and a tar is read by seeking. Owners of the build machine are left behind, and of the modes only "can be run" counts.
 */
export async function openArchive(artifact: Artifact, options: ArchiveOptions): Promise<OpenArchive> {
  const open: number[] = [];
  const close = (): void => open.splice(0).forEach((fd) => closeSync(fd));
  const name = artifact.address.slice(artifact.address.lastIndexOf("/") + 1);
  try {
    const outer = await readTree(artifact, name, options.type, options.cache, open);
    const tree = options.inside.length === 0 ? outer : await readInside(outer, name, options, open);
    normaliseTree(tree);
    return { root: treeRootfs(name, stripFolders(tree, options.strip)), close };
  } catch (error) {
    close();
    throw error;
  }
}

type Stored = Pick<Artifact, "path" | "sha256" | "size">;

async function readTree(
  file: Stored,
  name: string,
  type: ArchiveType,
  cache: string,
  open: number[],
): Promise<FolderInode> {
  const openFile = (path: string): number => {
    const fd = openSync(path, "r");
    open.push(fd);
    return fd;
  };
  if (type === "file") {
    const tree = emptyFolder();
    const content = descriptorSource(openFile(file.path), 0, file.size, name);
    tree.children.set(name, { type: "file", size: file.size, open: () => content, ...plainAttributes(0o755) });
    return tree;
  }
  const tar = await tarOf(file, name, type, cache);
  const archive = descriptorSource(openFile(tar), 0, sizeOf(tar) ?? 0, name);
  try {
    return stackFiles(archive, name).root;
  } catch (error) {
    rmSync(tar, { force: true });
    throw error;
  }
}

/** Path of the uncompressed tar with the archive's content; made once per archive. */
async function tarOf(file: Stored, name: string, type: Exclude<ArchiveType, "file">, cache: string): Promise<string> {
  const goal = join(cache, "unpacked", `${file.sha256}.tar`);
  if (sizeOf(goal) !== undefined) return goal;
  mkdirSync(dirname(goal), { recursive: true });
  const temporary = `${goal}.${randomBytes(6).toString("hex")}`;
  try {
    const bytes =
      type === "zip"
        ? tarOfZip(file.path, name, limits.bytes)
        : decompress(type === "deb" ? dataOfPackage(file.path, name) : createReadStream(file.path), name);
    await pipeline(
      boundExpansion(bytes, () => file.size, name, limits),
      createWriteStream(temporary),
    );
    renameSync(temporary, goal);
  } finally {
    rmSync(temporary, { force: true });
  }
  return goal;
}

/** The contents of all archives inside that match, laid over each other. */
async function readInside(
  outer: FolderInode,
  name: string,
  options: ArchiveOptions,
  open: number[],
): Promise<FolderInode> {
  const root = treeRootfs(name, outer);
  const patterns = options.inside.map((pattern) => compilePathGlob(pattern));
  const found = [...root.walk(rootPath("/"))].filter(
    (node) => node.type === "file" && patterns.some((matches) => matches(node.path.slice(1))),
  );
  const missing = options.inside.filter((_, at) => !found.some((node) => patterns[at]!(node.path.slice(1))));
  if (missing.length > 0) {
    throw new FlixwrapError("recipe-no-match", { what: `nothing matches ${missing.join(", ")}`, where: name });
  }
  const merged = emptyFolder();
  for (const node of found) {
    const path = join(options.cache, "unpacked", `${randomBytes(8).toString("hex")}.inside`);
    try {
      await pipeline(root.open(node).stream(), createWriteStream(path));
      const stored = { path, sha256: await hashFile(path, "sha256"), size: node.size };
      mergeFolder(merged, await readTree(stored, `${name}${node.path}`, archiveTypeOf(node.path), options.cache, open));
    } finally {
      rmSync(path, { force: true });
    }
  }
  return merged;
}

function mergeFolder(into: FolderInode, from: FolderInode): void {
  for (const [name, child] of from.children) {
    const present = into.children.get(name);
    if (present?.type === "directory" && child.type === "directory") mergeFolder(present, child);
    else into.children.set(name, child);
  }
}

function stripFolders(tree: FolderInode, count: number): FolderInode {
  if (count === 0) return tree;
  const stripped = emptyFolder();
  for (const child of tree.children.values()) if (child.type === "directory") mergeFolder(stripped, child);
  return stripFolders(stripped, count - 1);
}

function normaliseTree(root: FolderInode): void {
  const pending: Inode[] = [root];
  for (let inode = pending.pop(); inode !== undefined; inode = pending.pop()) {
    inode.uid = 0;
    inode.gid = 0;
    inode.xattrs = new Map();
    inode.mode = inode.type === "directory" || (inode.mode & 0o111) !== 0 ? 0o755 : 0o644;
    if (inode.type === "directory") pending.push(...inode.children.values());
  }
}

/** What an address's ending says about the file behind it. */
export function archiveTypeOf(address: string): ArchiveType {
  const path = address.replace(/[?#].*$/, "");
  if (/\.(tar(\.(gz|xz|zst|bz2))?|tgz|txz|tzst)$/.test(path)) return "tar";
  if (path.endsWith(".zip")) return "zip";
  return path.endsWith(".deb") ? "deb" : "file";
}
