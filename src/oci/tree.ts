import { memorySource, type ByteSource } from "../core/bytes.ts";
import type { RootPath } from "../core/paths.ts";
import { backedRootfs } from "./backed-rootfs.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";

/** A node of a root file system in memory; hard links are one `Inode` under several names. */
export type Inode = FolderInode | FileInode | LinkInode | SpecialInode;

/** What every inode has; a later layer may change it. */
export interface InodeAttributes {
  mode: number;
  uid: number;
  gid: number;
  mtime: RootNode["mtime"];
  xattrs: ReadonlyMap<string, Uint8Array>;
}

/** A folder with what is in it, by name. */
export interface FolderInode extends InodeAttributes {
  readonly type: "directory";
  readonly children: Map<string, Inode>;
}
/** A regular file; its bytes are opened when they are asked for. */
export interface FileInode extends InodeAttributes {
  readonly type: "file";
  /** In bytes. */
  readonly size: number;
  readonly open: () => ByteSource;
}
/** A symbolic link, its target as written. */
export interface LinkInode extends InodeAttributes {
  readonly type: "symlink";
  readonly target: string;
}
/** A device or a pipe. */
export interface SpecialInode extends InodeAttributes {
  readonly type: "character-device" | "block-device" | "fifo";
  readonly device?: NonNullable<RootNode["device"]>;
}

const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/** Root-owned, from 1970, without xattrs. */
export const plainAttributes = (mode: number): InodeAttributes => ({
  mode,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  xattrs: noXattrs,
});

/** An empty folder; 0755 and root's is what an image means by a parent it does not list. */
export const emptyFolder = (attributes: InodeAttributes = plainAttributes(0o755)): FolderInode => ({
  type: "directory",
  ...attributes,
  children: new Map(),
});

/** What a folder has under a name; nothing is in what is no folder. */
export const childOf = (folder: Inode, name: string): Inode | undefined =>
  folder.type === "directory" ? folder.children.get(name) : undefined;

/** A tree in memory as a root file system. */
export function treeRootfs(description: string, root: FolderInode): Rootfs {
  const identities = new Map<Inode, string>();
  const identityOf = (inode: Inode): string => {
    const known = identities.get(inode);
    if (known !== undefined) return known;
    const identity = `#${identities.size}`;
    identities.set(inode, identity);
    return identity;
  };
  return backedRootfs<Inode>({
    description,
    root,
    child: childOf,
    names: (folder) => (folder.type === "directory" ? folder.children.keys() : []),
    describe: (inode, path) => describeInode(inode, path, identityOf(inode)),
    open: (inode) => (inode.type === "file" ? inode.open() : memorySource(new Uint8Array())),
  });
}

function describeInode(inode: Inode, path: RootPath, identity: string): RootNode {
  const { type, mode, uid, gid, mtime, xattrs } = inode;
  return {
    path,
    type,
    mode,
    uid,
    gid,
    mtime,
    xattrs,
    identity,
    size: inode.type === "file" ? inode.size : 0,
    ...(inode.type === "symlink" && { target: inode.target }),
    ...("device" in inode && { device: inode.device }),
  };
}
