import type { Tally } from "../oci/limits.ts";
import type { NodeType } from "../oci/rootfs.ts";
import type { FolderInode, Inode } from "../oci/tree.ts";
import { damaged } from "./cursor.ts";

/** What a reader makes of one inode; a folder comes with the names in it and where their inodes are. */
export interface ReadInode<Place> {
  readonly inode: Inode;
  readonly list?: () => Iterable<readonly [string, Place]>;
}

/** How a file system finds its inodes. */
export interface InodeReader<Place> {
  readonly root: Place;
  readonly keyOf: (place: Place) => string | number;
  readonly read: (place: Place) => ReadInode<Place>;
  /** More than the image can have are damage. */
  readonly most: number;
  /** Names and the bytes of files are counted here; what else an inode holds, by its reader. */
  readonly tally: Tally;
}

/**
 * The whole tree; each inode is read once, so that hard links are one node.
 * @throws FlixwrapError `pack-damaged-image`, also for a folder that holds one of its parents; `oci-too-large`.
 */
export function readTree<Place>({ root, keyOf, read, most, tally }: InodeReader<Place>, name: string): FolderInode {
  const known = new Map<string | number, Inode>();
  const pending: { readonly folder: FolderInode; readonly list: ReadInode<Place>["list"] }[] = [];
  const open = (place: Place): Inode => {
    const key = keyOf(place);
    const seen = known.get(key);
    if (seen !== undefined) {
      if (seen.type === "directory") throw damaged(name, "a folder in two places");
      return seen;
    }
    if (known.size >= most) throw damaged(name, "more inodes than there is room for");
    const { inode, list } = read(place);
    known.set(key, inode);
    if (inode.type === "file") tally.content(inode.size, name);
    if (inode.type === "directory") pending.push({ folder: inode, list });
    return inode;
  };
  const tree = open(root);
  if (tree.type !== "directory") throw damaged(name, `a root of type ${tree.type}`);
  for (let next = pending.pop(); next !== undefined; next = pending.pop())
    for (const [entry, place] of next.list?.() ?? []) {
      tally.entry(name);
      tally.meta(entry.length, name);
      next.folder.children.set(entry, open(place));
    }
  return tree;
}

/** Types by the highest bits of a mode (S_IFMT). A socket is nothing an image can use; it is told as the pipe it resembles. */
const TYPES: Readonly<Record<number, NodeType>> = {
  0x1000: "fifo",
  0x2000: "character-device",
  0x4000: "directory",
  0x6000: "block-device",
  0x8000: "file",
  0xa000: "symlink",
  0xc000: "fifo",
};

/** @throws FlixwrapError `pack-damaged-image` for a mode without a type. */
export function typeOfMode(mode: number, name: string): NodeType {
  const type = TYPES[mode & 0xf000];
  if (type === undefined) throw damaged(name, `an inode of mode ${mode.toString(8)}`);
  return type;
}

/** A device number as Linux keeps it on disk (linux/kdev_t.h, new_decode_dev). */
export const decodeDevice = (number: number): { readonly major: number; readonly minor: number } => ({
  major: (number >> 8) & 0xfff,
  minor: (number & 0xff) | ((number >>> 12) & 0xfff00),
});
