import type { ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import { openTally } from "../oci/limits.ts";
import { type FolderInode, emptyFolder } from "../oci/tree.ts";
import { type Cursor, damaged } from "./cursor.ts";
import { chooseExpander } from "./decompress.ts";
import { type ReadInode, decodeDevice, readTree } from "./inodes.ts";
import { BlockReader, type FileLayout } from "./squashfs/blocks.ts";
import { readSuperblock, type Reference } from "./squashfs/superblock.ts";
import {
  cursorIn,
  type Fragment,
  type Image,
  readFragments,
  readIds,
  readTable,
  type Table,
} from "./squashfs/tables.ts";
import { noXattrs, readXattrs, type Xattrs } from "./squashfs/xattrs.ts";

/**
 * Reads a squashfs 4.0 image without mounting it (linux Documentation/filesystems/squashfs.rst and
 * fs/squashfs/squashfs_fs.h): the tables at once, file contents when they are asked for.
 */
export function readSquashfs(source: ByteSource, name: string): FolderInode {
  const head = readSuperblock(source, name);
  const image = { source, name, head, expand: chooseExpander(head.compressor, name), tally: openTally() };
  const inodes = readTable(image, head.inodeTable, head.directoryTable, "inode table");
  const directories = readTable(image, head.directoryTable, head.directoryEnd, "directory table");
  const reader = new Inodes(image, inodes, directories, readIds(image), readFragments(image), readXattrs(image));
  const keyOf = ({ block, offset }: Reference) => `${block}:${offset}`;
  const read = (reference: Reference) => reader.read(reference);
  return readTree({ root: head.root, keyOf, read, most: head.inodeCount, tally: image.tally }, name);
}

/** Stands for no fragment and for no attributes. */
const none = 0xffff_ffff;

/** Inodes, and what is in folders. */
class Inodes {
  readonly #image: Image;
  readonly #inodes: Table;
  readonly #directories: Table;
  readonly #ids: readonly number[];
  readonly #xattrs: (index: number) => Xattrs;
  readonly #blocks: BlockReader;

  constructor(
    image: Image,
    inodes: Table,
    directories: Table,
    ids: readonly number[],
    fragments: (index: number) => Fragment,
    xattrs: (index: number) => Xattrs,
  ) {
    this.#image = image;
    this.#inodes = inodes;
    this.#directories = directories;
    this.#ids = ids;
    this.#xattrs = xattrs;
    this.#blocks = new BlockReader(image, fragments);
  }

  read(reference: Reference): ReadInode<Reference> {
    const cursor = cursorIn(this.#inodes, reference);
    const type = cursor.u16();
    const mode = cursor.u16() & 0o7777;
    const [uid, gid] = [this.#id(cursor.u16()), this.#id(cursor.u16())];
    const mtime = { seconds: cursor.u32(), nanoseconds: 0 };
    cursor.skip(4);
    const isExtended = type > 7;
    const attributes = (xattr: number) => ({
      mode,
      uid,
      gid,
      mtime,
      xattrs: xattr === none ? noXattrs : this.#xattrs(xattr),
    });
    switch (isExtended ? type - 7 : type) {
      case 1: {
        const { listing, xattr } = isExtended ? readLongFolder(cursor) : readShortFolder(cursor);
        return { inode: emptyFolder(attributes(xattr)), list: () => this.#list(listing) };
      }
      case 2: {
        const file = isExtended ? readLongFile(cursor) : readShortFile(cursor);
        const open = this.#openFile(file, cursor);
        return { inode: { type: "file", size: file.size, open, ...attributes(file.xattr) } };
      }
      case 3: {
        cursor.skip(4);
        const target = decodeName(cursor.bytes(cursor.u32()));
        this.#image.tally.meta(target.length, this.#image.name);
        return { inode: { type: "symlink", target, ...attributes(isExtended ? cursor.u32() : none) } };
      }
      case 4:
      case 5: {
        cursor.skip(4);
        const device = decodeDevice(cursor.u32());
        const kind = (isExtended ? type - 7 : type) === 4 ? "block-device" : "character-device";
        return { inode: { type: kind, device, ...attributes(isExtended ? cursor.u32() : none) } };
      }
      case 6:
      case 7: {
        // A socket is nothing an image can use; it is told as the pipe it resembles.
        cursor.skip(4);
        return { inode: { type: "fifo", ...attributes(isExtended ? cursor.u32() : none) } };
      }
      default:
        throw damaged(this.#inodes.where, `an inode of type ${type}`);
    }
  }

  /** The sizes of its blocks follow a file's fields. */
  #openFile(file: FileHead, cursor: Cursor): () => ByteSource {
    const { name, tally, head } = this.#image;
    const blocks = file.size / head.blockSize;
    const count = file.fragment === none ? Math.ceil(blocks) : Math.floor(blocks);
    tally.meta(count * 8, name);
    const sizes = readSizes(cursor, count, this.#inodes);
    return () => this.#blocks.open({ ...file, sizes });
  }

  #id(index: number): number {
    const id = this.#ids[index];
    if (id === undefined) throw damaged(this.#inodes.where, `id number ${index}`, `below ${this.#ids.length}`);
    return id;
  }

  *#list({ block, offset, size }: Listing): Iterable<readonly [string, Reference]> {
    // The size counts the names `.` and `..`, three bytes that are not there.
    let left = size - 3;
    if (left <= 0) return;
    const { where } = this.#directories;
    const cursor = cursorIn(this.#directories, { block, offset });
    while (left > 0) {
      const count = cursor.u32() + 1;
      const start = cursor.u32();
      cursor.skip(4);
      left -= 12;
      if (count > 256) throw damaged(where, `${count} names under one header`);
      for (let at = 0; at < count; at++) {
        const inside = cursor.u16();
        cursor.skip(4);
        const bytes = cursor.bytes(cursor.u16() + 1);
        left -= 8 + bytes.length;
        const name = decodeName(bytes);
        if (name.includes("/") || name.includes("\0") || name === "." || name === "..")
          throw damaged(where, `the name ${name}`);
        yield [name, { block: start, offset: inside }];
      }
    }
  }
}

interface Listing extends Reference {
  readonly size: number;
}

function readShortFolder(cursor: Cursor): { listing: Listing; xattr: number } {
  const block = cursor.u32();
  cursor.skip(4);
  const size = cursor.u16();
  return { listing: { block, size, offset: cursor.u16() }, xattr: none };
}

function readLongFolder(cursor: Cursor): { listing: Listing; xattr: number } {
  cursor.skip(4);
  const size = cursor.u32();
  const block = cursor.u32();
  cursor.skip(6);
  const offset = cursor.u16();
  return { listing: { block, size, offset }, xattr: cursor.u32() };
}

/** A file's fields in front of the sizes of its blocks. */
interface FileHead extends Omit<FileLayout, "sizes"> {
  readonly xattr: number;
}

function readShortFile(cursor: Cursor): FileHead {
  const [start, fragment, fragmentOffset, size] = [cursor.u32(), cursor.u32(), cursor.u32(), cursor.u32()];
  return { start, fragment, fragmentOffset, size, xattr: none };
}

function readLongFile(cursor: Cursor): FileHead {
  const [start, size] = [cursor.u64(), cursor.u64()];
  cursor.skip(12);
  return { start, size, fragment: cursor.u32(), fragmentOffset: cursor.u32(), xattr: cursor.u32() };
}

function readSizes(cursor: Cursor, count: number, { bytes, where }: Table): readonly number[] {
  if (count * 4 > bytes.length) throw damaged(where, `a file of ${count} blocks`);
  return Array.from({ length: count }, () => cursor.u32());
}
