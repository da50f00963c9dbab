import { memorySource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";
import { normalise } from "../core/paths.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";
import { emptyFolder, plainAttributes, treeRootfs, type FolderInode, type Inode } from "./tree.ts";

/** One node of {@link memoryRootfs}; a bare string or bytes are a file's content. */
export type MemoryEntry = string | Uint8Array | (EntryKind & Partial<EntryAttributes>);

type EntryKind =
  | { readonly content: string | Uint8Array }
  /** A symlink. */
  | { readonly target: string }
  /** A hard link to another entry, which must come before this one. */
  | { readonly hardlink: string }
  | { readonly type: "directory" | "fifo" | "character-device" | "block-device" };

type EntryAttributes = Pick<RootNode, "mode" | "uid" | "gid" | "mtime" | "xattrs"> & {
  readonly device: NonNullable<RootNode["device"]>;
};

/**
 * A root file system from a plain record, for tests and small made-up roots; parents appear by themselves:
 * `memoryRootfs({ "/etc/ld.so.conf": "/opt/lib\n", "/lib": { target: "usr/lib" } })`.
 */
export function memoryRootfs(entries: Readonly<Record<string, MemoryEntry>>, description = "memory"): Rootfs {
  const root = emptyFolder();
  for (const [path, entry] of Object.entries(entries)) {
    const names = normalise(path).split("/").slice(1);
    const name = names.pop()!;
    if (name !== "") folderAt(root, names).children.set(name, inodeFrom(root, entry));
  }
  return treeRootfs(description, root);
}

function inodeFrom(root: FolderInode, entry: MemoryEntry): Inode {
  if (typeof entry === "string" || entry instanceof Uint8Array) return inodeFrom(root, { content: entry });
  if ("hardlink" in entry) return existing(root, entry.hardlink);
  const { mode, uid = 0, gid = 0, mtime, xattrs } = entry;
  const attributes = (usual: number) => {
    const plain = plainAttributes(mode ?? usual);
    return { ...plain, uid, gid, mtime: mtime ?? plain.mtime, xattrs: xattrs ?? plain.xattrs };
  };
  if ("content" in entry) {
    const bytes = typeof entry.content === "string" ? Buffer.from(entry.content, "utf8") : entry.content;
    return { type: "file", size: bytes.length, open: () => memorySource(bytes), ...attributes(0o644) };
  }
  if ("target" in entry) return { type: "symlink", target: entry.target, ...attributes(0o777) };
  if (entry.type === "directory") return emptyFolder(attributes(0o755));
  return { type: entry.type, ...(entry.device && { device: entry.device }), ...attributes(0o600) };
}

function folderAt(root: FolderInode, names: readonly string[]): FolderInode {
  let folder = root;
  for (const name of names) {
    const next = folder.children.get(name) ?? emptyFolder();
    if (next.type !== "directory") throw new FlixwrapError("oci-not-a-folder", { what: "no folder", where: name });
    folder.children.set(name, next);
    folder = next;
  }
  return folder;
}

function existing(root: FolderInode, path: string): Inode {
  const names = normalise(path).split("/").slice(1);
  const found = folderAt(root, names.slice(0, -1)).children.get(names.at(-1)!);
  if (found === undefined) throw new FlixwrapError("oci-missing-link-target", { what: "no such entry", where: path });
  return found;
}
