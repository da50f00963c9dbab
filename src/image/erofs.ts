import type { ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import type { NodeType } from "../oci/rootfs.ts";
import { type Tally, openTally } from "../oci/limits.ts";
import { type FolderInode, type Inode, type InodeAttributes, emptyFolder } from "../oci/tree.ts";
import { cursorAt, damaged } from "./cursor.ts";
import { type Extent, readExtents } from "./erofs/extents.ts";
import { chooseExpander } from "./decompress.ts";
import { type ReadInode, decodeDevice, readTree, typeOfMode } from "./inodes.ts";
import { expandLz4Start } from "./lz4.ts";
import { type Piece, piecesSource } from "./pieces.ts";

/**
 * Reads an erofs image without mounting it (linux Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h): flat,
 * inline, chunk-based and compressed files, tail packing and fragments.
 */
export function readErofs(source: ByteSource, name: string): FolderInode {
  const image = openImage(source, name);
  const read = (nid: number): ReadInode<number> => {
    const core = readInode(image, nid);
    const inode = toInode(image, core);
    if (inode.type === "directory") image.tally.meta(core.size / FOLDER_SHARE, name);
    return { inode, list: () => listFolder(image, openContent(image, core)) };
  };
  // Each inode takes 32 bytes of the image at least.
  return readTree({ root: image.root, keyOf: (nid) => nid, read, most: source.size / 32, tally: image.tally }, name);
}

/** Of so many bytes of a folder in the image, one is held in memory: the rest is free room and numbers. */
const FOLDER_SHARE = 16;

/** What every part of an image's reader needs. */
interface Image {
  readonly tally: Tally;
  readonly source: ByteSource;
  readonly name: string;
  readonly blockSize: number;
  readonly root: number;
  readonly metaStart: number;
  readonly xattrStart: number;
  /** Inode that holds the tails of many files. */
  readonly packed: number | undefined;
  /** Compressed data stands at the end of its cluster, zeros before it. */
  readonly isPaddedBefore: boolean;
  readonly hasFragments: boolean;
}

const FEATURE = { zeroPadding: 0x1, chunked: 0x4, devices: 0x8, tails: 0x10, fragments: 0x20, prefixes: 0x40 };
const understood = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20;

function openImage(source: ByteSource, name: string): Image {
  const cursor = cursorAt(source.read(1024, 128), 0, `${name}, superblock`);
  if (cursor.u32() !== 0xe0f5e1e2) throw damaged(name, "no erofs superblock");
  cursor.skip(8);
  const [blockBits] = cursor.bytes(2);
  if (blockBits! < 9 || blockBits! > 16) throw damaged(name, `blocks of 2^${blockBits} bytes`);
  const blockSize = 1 << blockBits!;
  const root = cursor.u16();
  cursor.skip(24);
  const [meta, xattr] = [cursor.u32(), cursor.u32()];
  cursor.skip(32);
  const features = cursor.u32();
  if ((features & ~understood) !== 0)
    throw damaged(name, `features 0x${(features & ~understood).toString(16)} that are not read here`);
  cursor.skip(2);
  if (cursor.u16() !== 0) throw damaged(name, "data on further devices");
  cursor.skip(8);
  const packed = cursor.u64();
  return {
    tally: openTally(),
    source,
    name,
    blockSize,
    root,
    metaStart: meta * blockSize,
    xattrStart: xattr * blockSize,
    packed: packed === 0 ? undefined : packed,
    isPaddedBefore: (features & FEATURE.zeroPadding) !== 0,
    hasFragments: (features & FEATURE.fragments) !== 0,
  };
}

/** An inode's fields; `after` is where its attributes begin, `data` where what follows them does. */
interface Core {
  readonly nid: number;
  readonly layout: number;
  readonly mode: number;
  readonly size: number;
  /** Block address, chunk format or device number, by layout and type. */
  readonly union: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  readonly data: number;
}

const LAYOUT = { plain: 0, compressedFull: 1, inline: 2, compressedCompact: 3, chunked: 4 };
const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

function readInode(image: Image, nid: number): Core {
  const at = image.metaStart + nid * 32;
  const where = `${image.name}, inode ${nid}`;
  const cursor = cursorAt(image.source.read(at, 64), 0, where);
  const format = cursor.u16();
  const isLong = (format & 1) !== 0;
  const icount = cursor.u16();
  const mode = cursor.u16();
  cursor.skip(2);
  const size = isLong ? cursor.u64() : cursor.u32();
  if (!isLong) cursor.skip(4);
  const union = cursor.u32();
  cursor.skip(4);
  const [uid, gid] = isLong ? [cursor.u32(), cursor.u32()] : [cursor.u16(), cursor.u16()];
  const mtime = isLong ? cursor.u64() : 0;
  const after = at + (isLong ? 64 : 32);
  const xattrSize = icount === 0 ? 0 : 12 + (icount - 1) * 4;
  const xattrs = icount === 0 ? noXattrs : readXattrs(image, after, xattrSize, where);
  return { nid, layout: (format >> 1) & 7, mode, size, union, uid, gid, mtime, xattrs, data: after + xattrSize };
}

const prefixes: Readonly<Record<number, string>> = {
  1: "user.",
  2: "system.posix_acl_access",
  3: "system.posix_acl_default",
  4: "trusted.",
  6: "security.",
};

function readXattrs(image: Image, at: number, size: number, where: string): ReadonlyMap<string, Uint8Array> {
  const bytes = image.source.read(at, size);
  const head = cursorAt(bytes, 4, where);
  const [shared] = head.bytes(1);
  const found = new Map<string, Uint8Array>();
  const ids = cursorAt(bytes, 12, where);
  for (let index = 0; index < shared!; index++) {
    const start = image.xattrStart + ids.u32() * 4;
    readXattr(image, (length) => image.source.read(start, length), where, found);
  }
  for (let offset = 12 + shared! * 4; offset + 4 <= size;) {
    const length = readXattr(image, (most) => bytes.subarray(offset, offset + most), where, found);
    offset += Math.ceil(length / 4) * 4;
  }
  return found;
}

function readXattr(
  { tally, name: image }: Image,
  read: (length: number) => Uint8Array,
  where: string,
  found: Map<string, Uint8Array>,
): number {
  const head = cursorAt(read(4), 0, where);
  const [nameLength, prefix] = head.bytes(2);
  const length = 4 + nameLength! + head.u16();
  const cursor = cursorAt(read(length), 4, where);
  const name = (prefixes[prefix!] ?? "") + decodeName(cursor.bytes(nameLength!));
  const value = Uint8Array.from(cursor.bytes(length - 4 - nameLength!));
  tally.meta(length + ATTRIBUTE, image);
  if (name !== "") found.set(name, value);
  return length;
}

/** Bytes that an attribute takes in memory besides name and value. */
const ATTRIBUTE = 16;

function toInode(image: Image, core: Core): Inode {
  const { uid, gid, xattrs } = core;
  const attributes = { mode: core.mode & 0o7777, uid, gid, xattrs, mtime: { seconds: core.mtime, nanoseconds: 0 } };
  const type = typeOfMode(core.mode, image.name);
  return typedInode(image, core, type, attributes);
}

// oxlint-disable-next-line typescript/consistent-return -- it does not see that the switch is exhaustive; tsc does
function typedInode(image: Image, core: Core, type: NodeType, attributes: InodeAttributes): Inode {
  const { union } = core;
  switch (type) {
    case "directory":
      return emptyFolder(attributes);
    case "file":
      return { type, size: core.size, open: () => openContent(image, core), ...attributes };
    case "symlink": {
      if (core.size > 65_536) throw damaged(image.name, `a link of ${core.size} bytes`);
      image.tally.meta(core.size, image.name);
      return { type, target: decodeName(openContent(image, core).read(0, core.size)), ...attributes };
    }
    case "character-device":
    case "block-device":
      return { type, device: decodeDevice(union), ...attributes };
    case "fifo":
      return { type, ...attributes };
  }
}

/** `nid` and name of each entry; blocks are sorted by name, each with its own table. */
function* listFolder(image: Image, content: ByteSource): Iterable<readonly [string, number]> {
  const where = `${image.name}, a folder`;
  if (content.size > image.source.size * 64) throw damaged(where, `${content.size} bytes`);
  for (let at = 0; at < content.size; at += image.blockSize) {
    const block = content.read(at, image.blockSize);
    const table = cursorAt(block, 0, where);
    const count = cursorAt(block, 8, where).u16() / 12;
    if (!Number.isInteger(count) || count === 0 || count * 12 > block.length)
      throw damaged(where, `${count} names in a block`);
    const entries = Array.from({ length: count }, () => {
      const nid = table.u64();
      const offset = table.u16();
      table.skip(2);
      return { nid, offset };
    });
    for (const [index, { nid, offset }] of entries.entries()) {
      const end = entries[index + 1]?.offset ?? block.length;
      if (end < offset || end > block.length) throw damaged(where, "names out of order");
      const raw = Buffer.from(block.subarray(offset, end));
      const zero = raw.indexOf(0);
      const entry = decodeName(zero === -1 ? raw : raw.subarray(0, zero));
      if (entry === "" || entry.includes("/")) throw damaged(where, `the name ${entry}`);
      if (entry !== "." && entry !== "..") yield [entry, nid];
    }
  }
}

/** The content of a file, folder or link, by its layout. */
function openContent(image: Image, core: Core): ByteSource {
  const { blockSize, source, name } = image;
  const { size, union, data } = core;
  switch (core.layout) {
    case LAYOUT.plain:
      return piecesSource(name, size, [
        { start: 0, end: size, read: (at, length) => source.read(union * blockSize + at, length) },
      ]);
    case LAYOUT.inline: {
      const tail = size - (size % blockSize);
      return piecesSource(name, size, [
        { start: 0, end: tail, read: (at, length) => source.read(union * blockSize + at, length) },
        { start: tail, end: size, read: (at, length) => source.read(data + at, length) },
      ]);
    }
    case LAYOUT.chunked:
      return openChunks(image, core);
    case LAYOUT.compressedFull:
    case LAYOUT.compressedCompact:
      return openCompressed(image, core);
    default:
      throw damaged(name, `a file of layout ${core.layout}`);
  }
}

/** Chunks of equal size, each with a block address; all ones are a hole. */
function openChunks(image: Image, { union, size, data }: Core): ByteSource {
  const { blockSize, source, name } = image;
  const chunk = blockSize * 2 ** (union & 0x1f);
  const isIndexed = (union & 0x20) !== 0;
  const unit = isIndexed ? 8 : 4;
  const start = Math.ceil(data / unit) * unit;
  const count = Math.ceil(size / chunk);
  if (count * unit > source.size) throw damaged(name, `a file of ${count} chunks`);
  const table = cursorAt(source.read(start, count * unit), 0, name);
  return piecesSource(
    name,
    size,
    Array.from({ length: count }, (_, index): Piece => {
      if (isIndexed) table.skip(4);
      const block = table.u32();
      const begin = index * chunk;
      const read = (at: number, length: number) =>
        block === 0xffff_ffff ? new Uint8Array(length) : source.read(block * blockSize + at, length);
      return { start: begin, end: Math.min(size, begin + chunk), read };
    }),
  );
}

function openCompressed(image: Image, core: Core): ByteSource {
  const { source, name, blockSize, packed } = image;
  const { extents, fragment } = readExtents(source, core, { blockSize, name, hasFragments: image.hasFragments });
  // The few clusters that were read last.
  const recent = new Map<Extent, Uint8Array>();
  const expanded = (extent: Extent): Uint8Array => {
    const known = recent.get(extent);
    if (known !== undefined) return known;
    const bytes = expandExtent(image, extent);
    if (recent.size >= 4) recent.delete(recent.keys().next().value!);
    recent.set(extent, bytes);
    return bytes;
  };
  const all: Piece[] = extents.map((extent) => ({
    start: extent.start,
    end: extent.end,
    read: (at, length) => expanded(extent).subarray(at, at + length),
  }));
  if (fragment !== undefined) {
    if (packed === undefined || packed === core.nid) throw damaged(name, "a tail in a file that is not there");
    const tails = openContent(image, readInode(image, packed));
    all.push({ start: fragment.start, end: core.size, read: (at, length) => tails.read(fragment.offset + at, length) });
  }
  return piecesSource(name, core.size, all);
}

const algorithms = ["lz4", "lzma", "deflate", "zstd"];
/** No writer makes larger clusters (1 MiB), nor larger extents. */
const extentLimit = 32 << 20;

function expandExtent(image: Image, extent: Extent): Uint8Array {
  const { source, name, blockSize, isPaddedBefore } = image;
  const length = extent.end - extent.start;
  if (length > extentLimit || extent.length > extentLimit) throw damaged(name, `a cluster of ${length} bytes`);
  const raw = source.read(extent.at, extent.length);
  if (raw.length !== extent.length) throw damaged(name, "a cluster beyond the image's end");
  if (extent.algorithm === "none") {
    // Interlaced: the block is a ring that begins where the data stands in its block of the file.
    const shift = extent.isInterlaced ? extent.start % blockSize : 0;
    const bytes = shift === 0 ? raw : Buffer.concat([raw.subarray(shift), raw.subarray(0, shift)]);
    if (bytes.length < length) throw damaged(name, "a cluster that is too short");
    return bytes.subarray(0, length);
  }
  const first = isPaddedBefore ? raw.findIndex((byte) => byte !== 0) : 0;
  const input = raw.subarray(Math.max(0, first));
  const algorithm = algorithms[extent.algorithm] ?? "unknown";
  try {
    const bytes =
      algorithm === "lz4" ? expandLz4Start(input, length) : chooseExpander(algorithm, name)([input], length, false)[0]!;
    if (bytes.length !== length) throw damaged(name, `a cluster of ${bytes.length} bytes`, `${length} bytes`);
    return bytes;
  } catch (error) {
    if (error instanceof RangeError) throw damaged(name, error.message);
    throw error;
  }
}
