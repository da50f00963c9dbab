import { Readable } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import { type Tally, openTally } from "../oci/limits.ts";
import { type FolderInode, emptyFolder } from "../oci/tree.ts";
import { type Cursor, cursorAt, damaged } from "./cursor.ts";
import { type Expand, chooseExpander } from "./decompress.ts";
import { type ReadInode, decodeDevice, readTree } from "./inodes.ts";

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

interface Image {
  readonly source: ByteSource;
  readonly name: string;
  readonly head: Superblock;
  readonly expand: Expand;
  readonly tally: Tally;
}

interface Superblock {
  readonly inodeCount: number;
  readonly blockSize: number;
  readonly fragmentCount: number;
  readonly compressor: string;
  readonly idCount: number;
  readonly root: Reference;
  readonly size: number;
  readonly idTable: number;
  readonly xattrTable: number | undefined;
  readonly inodeTable: number;
  readonly directoryTable: number;
  /** Where the directory table ends: the next table after it. */
  readonly directoryEnd: number;
  readonly fragmentTable: number | undefined;
}

/** Where something stands in a table: disk offset of its block from the table's begin, and offset in the block. */
interface Reference {
  readonly block: number;
  readonly offset: number;
}

const compressors = ["", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
const METADATA = 8192;
/** Bytes of one table, expanded: no honest image's comes near. A block that holds zeros takes twenty in the image. */
const tableLimit = 256 << 20;
const none = 0xffff_ffff;

const toReference = (value: bigint): Reference => ({ block: Number(value >> 16n), offset: Number(value & 0xffffn) });

function readSuperblock(source: ByteSource, name: string): Superblock {
  const bytes = Buffer.from(source.read(0, 96));
  if (bytes.length < 96 || bytes.readUInt32LE(0) !== 0x73717368) throw damaged(name, "no squashfs superblock");
  const major = bytes.readUInt16LE(28);
  const blockSize = bytes.readUInt32LE(12);
  const blockLog = bytes.readUInt16LE(22);
  if (major !== 4) throw damaged(name, `squashfs version ${major}`, "version 4");
  if (blockLog < 12 || blockLog > 20 || blockSize !== 1 << blockLog)
    throw damaged(name, `a block size of ${blockSize}`);
  const size = Number(bytes.readBigUInt64LE(40));
  // A loop device has whole sectors only.
  if (size > source.size - (source.size % 512))
    throw damaged(name, `${source.size} bytes`, `${size} bytes: the image is cut off`);
  const [idTable, xattrTable, inodeTable, directoryTable, fragmentTable, exportTable] = [48, 56, 64, 72, 80, 88].map(
    (at) => {
      const offset = bytes.readBigUInt64LE(at);
      return offset === 0xffff_ffff_ffff_ffffn ? undefined : Number(offset);
    },
  );
  if (idTable === undefined || inodeTable === undefined || directoryTable === undefined)
    throw damaged(name, "no inode, directory or id table");
  // The index arrays of later tables follow their own blocks, whose first pointers are the real begins.
  const pointers = [fragmentTable, exportTable, idTable].flatMap((at) => {
    if (at === undefined) return [];
    const pointer = Buffer.from(source.read(at, 8));
    return pointer.length === 8 ? [Number(pointer.readBigUInt64LE(0))] : [];
  });
  const later = [...pointers, idTable, size].filter((at) => at > directoryTable);
  return {
    inodeCount: bytes.readUInt32LE(4),
    blockSize,
    fragmentCount: bytes.readUInt32LE(16),
    compressor: compressors[bytes.readUInt16LE(20)] || "unknown",
    idCount: bytes.readUInt16LE(26),
    root: toReference(bytes.readBigUInt64LE(32)),
    size,
    idTable,
    xattrTable,
    inodeTable,
    directoryTable,
    directoryEnd: Math.min(...later),
    fragmentTable,
  };
}

/** An expanded table: its bytes, and where each of its blocks begins in them. */
interface Table {
  readonly bytes: Uint8Array;
  readonly starts: ReadonlyMap<number, number>;
  readonly where: string;
}

/** All metadata blocks from `start` to `end` (offsets in the image). */
function readTable({ source, name, expand }: Image, start: number, end: number, part: string): Table {
  const where = `${name}, ${part}`;
  if (end < start || end - start > tableLimit || end > source.size) throw damaged(where, `bytes ${start} to ${end}`);
  const raw = Buffer.from(source.read(start, end - start));
  const blocks: { readonly bytes: Uint8Array; readonly isPacked: boolean; readonly at: number }[] = [];
  for (let at = 0; at + 2 <= raw.length;) {
    const header = raw.readUInt16LE(at);
    const length = header & 0x7fff;
    if (length > METADATA || at + 2 + length > raw.length) throw damaged(where, `a block of ${length} bytes at ${at}`);
    if (blocks.length * METADATA > tableLimit) throw damaged(where, `more than ${blocks.length} blocks`);
    blocks.push({ bytes: raw.subarray(at + 2, at + 2 + length), isPacked: (header & 0x8000) === 0, at });
    at += 2 + length;
  }
  // All blocks but a table's last are full.
  const packed = expand(
    blocks.filter(({ isPacked }) => isPacked).map(({ bytes }) => bytes),
    METADATA,
    true,
  );
  let next = 0;
  let filled = 0;
  const starts = new Map<number, number>();
  const expanded = blocks.map(({ bytes, isPacked, at }) => {
    const whole = isPacked ? packed[next++]! : bytes;
    starts.set(at, filled);
    filled += whole.length;
    return whole;
  });
  return { bytes: Buffer.concat(expanded), starts, where };
}

function cursorIn(table: Table, { block, offset }: Reference): Cursor {
  const start = table.starts.get(block);
  if (start === undefined) throw damaged(table.where, `a reference to block ${block}`);
  return cursorAt(table.bytes, start + offset, table.where);
}

/** A table behind an array of pointers to its blocks (ids, fragments, xattr ids); the blocks end at `end`. */
function readIndexed(image: Image, at: number, bytes: number, part: string, end = at): Table {
  const where = `${image.name}, ${part}`;
  const count = Math.ceil(bytes / METADATA);
  if (count === 0) return { bytes: new Uint8Array(0), starts: new Map(), where };
  if (bytes > tableLimit) throw damaged(where, `${bytes} bytes`);
  const pointers = cursorAt(image.source.read(at, count * 8), 0, where);
  return readTable(image, pointers.u64(), end, part);
}

function readIds(image: Image): readonly number[] {
  const { idTable, idCount } = image.head;
  const cursor = cursorAt(readIndexed(image, idTable, idCount * 4, "id table").bytes, 0, `${image.name}, id table`);
  return Array.from({ length: idCount }, () => cursor.u32());
}

interface Fragment {
  readonly start: number;
  readonly size: number;
}

/** Each is read when it is asked for: sixteen bytes of zeros cost a bomb nothing. */
function readFragments(image: Image): (index: number) => Fragment {
  const { fragmentTable, fragmentCount } = image.head;
  const where = `${image.name}, fragment table`;
  const bytes =
    fragmentTable === undefined || fragmentCount === 0
      ? new Uint8Array(0)
      : readIndexed(image, fragmentTable, fragmentCount * 16, "fragment table").bytes;
  return (index) => {
    const cursor = cursorAt(bytes, index * 16, where);
    return { start: cursor.u64(), size: cursor.u32() };
  };
}

type Xattrs = ReadonlyMap<string, Uint8Array>;
const noXattrs: Xattrs = new Map();
/** Bytes that an attribute takes in memory besides name and value. */
const ATTRIBUTE = 16;
const prefixes = ["user.", "trusted.", "security."];

/** The sets of extended attributes, by number, each read when it is asked for. */
function readXattrs(image: Image): (index: number) => Xattrs {
  const { xattrTable } = image.head;
  if (xattrTable === undefined) return () => noXattrs;
  const where = `${image.name}, xattr table`;
  const header = cursorAt(image.source.read(xattrTable, 16), 0, where);
  const [valueStart, count] = [header.u64(), header.u32()];
  if (count === 0) return () => noXattrs;
  const first = cursorAt(image.source.read(xattrTable + 16, 8), 0, where).u64();
  const ids = readIndexed(image, xattrTable + 16, count * 16, "xattr table", xattrTable);
  const values = readTable(image, valueStart, first, "xattr values");
  return (index) => {
    if (index >= count) throw damaged(where, `number ${index}`, `below ${count}`);
    const id = cursorAt(ids.bytes, index * 16, where);
    const [low, high] = [id.u32(), id.u32()];
    const entries = id.u32();
    const cursor = cursorIn(values, toReference((BigInt(high) << 32n) | BigInt(low)));
    const found = new Map<string, Uint8Array>();
    // linux/xattr.h bounds a list at 64 KiB.
    if (entries > 65_536) throw damaged(where, `${entries} attributes`);
    for (let at = 0; at < entries; at++) {
      const type = cursor.u16();
      const key = (prefixes[type & 0xff] ?? "") + decodeName(cursor.bytes(cursor.u16()));
      const length = cursor.u32();
      let value = cursor.bytes(length);
      if ((type & 0x100) !== 0) {
        // The value stands elsewhere: a reference to it is here.
        const other = cursorIn(values, toReference(Buffer.from(cursorAt(value, 0, where).bytes(8)).readBigUInt64LE(0)));
        value = other.bytes(other.u32());
      }
      image.tally.meta(ATTRIBUTE + key.length + value.length, image.name);
      found.set(key, Uint8Array.from(value));
    }
    return found;
  };
}

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
        const { blockSize } = this.#image.head;
        const count = file.fragment === none ? Math.ceil(file.size / blockSize) : Math.floor(file.size / blockSize);
        this.#image.tally.meta(count * 8, this.#image.name);
        const sizes = cursorSizes(cursor, count, this.#inodes);
        const open = () => this.#blocks.open({ ...file, sizes });
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

interface FileLayout {
  readonly start: number;
  readonly size: number;
  /** Number of the fragment with the file's tail, or {@link none}. */
  readonly fragment: number;
  readonly fragmentOffset: number;
  readonly xattr: number;
}

function readShortFile(cursor: Cursor): FileLayout {
  const [start, fragment, fragmentOffset, size] = [cursor.u32(), cursor.u32(), cursor.u32(), cursor.u32()];
  return { start, fragment, fragmentOffset, size, xattr: none };
}

function readLongFile(cursor: Cursor): FileLayout {
  const [start, size] = [cursor.u64(), cursor.u64()];
  cursor.skip(12);
  return { start, size, fragment: cursor.u32(), fragmentOffset: cursor.u32(), xattr: cursor.u32() };
}

function cursorSizes(cursor: Cursor, count: number, { bytes, where }: Table): readonly number[] {
  if (count * 4 > bytes.length) throw damaged(where, `a file of ${count} blocks`);
  return Array.from({ length: count }, () => cursor.u32());
}

/** Expanded data blocks, the last few of them kept. */
class BlockReader {
  readonly #image: Image;
  readonly #fragments: (index: number) => Fragment;
  readonly #recent = new Map<number, Uint8Array>();

  constructor(image: Image, fragments: (index: number) => Fragment) {
    this.#image = image;
    this.#fragments = fragments;
  }

  open(file: FileLayout & { readonly sizes: readonly number[] }): ByteSource {
    const { blockSize } = this.#image.head;
    const starts: number[] = [];
    let start = file.start;
    for (const size of file.sizes) {
      starts.push(start);
      start += size & 0xff_ffff;
    }
    const block = (index: number): Uint8Array => {
      const length = Math.min(blockSize, file.size - index * blockSize);
      if (index < file.sizes.length) return this.#read(starts[index]!, file.sizes[index]!, length);
      const fragment = this.#fragments(file.fragment);
      const whole = this.#read(fragment.start, fragment.size, undefined);
      if (file.fragmentOffset + length > whole.length) throw damaged(this.#image.name, "a file beyond its fragment");
      return whole.subarray(file.fragmentOffset, file.fragmentOffset + length);
    };
    const read = (offset: number, length: number): Uint8Array => {
      const end = Math.min(file.size, offset + length);
      if (end <= offset) return new Uint8Array(0);
      const parts: Uint8Array[] = [];
      for (let at = offset; at < end;) {
        const index = Math.floor(at / blockSize);
        const part = block(index).subarray(at - index * blockSize, end - index * blockSize);
        parts.push(part);
        at += part.length;
      }
      return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    };
    const chunks = function* (): Generator<Uint8Array> {
      for (let at = 0; at < file.size; at += blockSize) yield read(at, blockSize);
    };
    return { size: file.size, read, stream: () => Readable.from(chunks(), { objectMode: false }) };
  }

  /** `length` is known for all but fragments, which hold as much as they hold. */
  #read(start: number, word: number, length: number | undefined): Uint8Array {
    const size = word & 0xff_ffff;
    // A hole.
    if (size === 0) return new Uint8Array(length ?? 0);
    const known = this.#recent.get(start);
    if (known !== undefined) return known;
    const { source, name, head, expand } = this.#image;
    if (size > head.blockSize + 16 || start + size > source.size)
      throw damaged(name, `a block of ${size} bytes at ${start}`);
    const raw = source.read(start, size);
    const block = (word & (1 << 24)) === 0 ? expand([raw], head.blockSize, false)[0]! : raw;
    if (length !== undefined && block.length !== length)
      throw damaged(name, `a block of ${block.length} bytes`, `${length} bytes`);
    if (this.#recent.size >= 16) this.#recent.delete(this.#recent.keys().next().value!);
    this.#recent.set(start, block);
    return block;
  }
}
