import type { ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import { type Tally, openTally } from "../oci/limits.ts";
import { type FolderInode, type Inode, type InodeAttributes, emptyFolder } from "../oci/tree.ts";
import { damaged } from "./cursor.ts";
import { type ReadInode, decodeDevice, readTree, typeOfMode } from "./inodes.ts";
import { type Piece, piecesSource } from "./pieces.ts";

/**
 * Reads an ext2, ext3 or ext4 image without mounting it (linux Documentation/filesystems/ext4): block maps and
 * extents, attributes in inodes and in blocks. `lost+found` is left out when it is empty.
 */
export function readExt(source: ByteSource, name: string): FolderInode {
  const image = openImage(source, name);
  const read = (number: number): ReadInode<number> => {
    const core = readInode(image, number);
    const entries = () => listFolder(image, openContent(image, core));
    const inode = toInode(image, core);
    if (inode.type === "directory") image.tally.meta(core.size / FOLDER_SHARE, name);
    return { inode, list: number === ROOT ? () => withoutEmptyLost(image, entries()) : entries };
  };
  return readTree({ root: ROOT, keyOf: (number) => number, read, most: image.inodeCount, tally: image.tally }, name);
}

function* withoutEmptyLost(
  image: Image,
  entries: Iterable<readonly [string, number]>,
): Iterable<readonly [string, number]> {
  for (const [entry, number] of entries) if (entry !== "lost+found" || !isEmpty(image, number)) yield [entry, number];
}

const ROOT = 2;
/** Incompatible features that are read here: names with types, extents, 64 bit, flexible groups, checksum seed, large folders. */
const understood = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000 | 0x4000;

/** Of so many bytes of a folder in the image, one is held in memory: the rest is free room and numbers. */
const FOLDER_SHARE = 16;

interface Image {
  readonly tally: Tally;
  readonly source: ByteSource;
  readonly name: string;
  readonly blockSize: number;
  readonly inodeSize: number;
  readonly inodeCount: number;
  readonly inodesPerGroup: number;
  /** Bytes: where the group descriptors begin, and the size of one. */
  readonly groups: number;
  readonly groupSize: number;
}

function openImage(source: ByteSource, name: string): Image {
  const head = readAt(source, 1024, 1024, name);
  if (head.readUInt16LE(56) !== 0xef53) throw damaged(name, "no ext superblock");
  const incompatible = head.readUInt32LE(96);
  if ((incompatible & ~understood) !== 0) {
    const journal = (incompatible & 0x4) !== 0 ? ": it was not unmounted cleanly" : "";
    throw damaged(name, `features 0x${(incompatible & ~understood).toString(16)} that are not read here${journal}`);
  }
  const blockBits = 10 + head.readUInt32LE(24);
  if (blockBits > 16) throw damaged(name, `blocks of 2^${blockBits} bytes`);
  const blockSize = 1 << blockBits;
  const isOld = head.readUInt32LE(76) === 0;
  const inodeSize = isOld ? 128 : head.readUInt16LE(88);
  const inodesPerGroup = head.readUInt32LE(40);
  if (inodeSize < 128 || inodeSize > blockSize || inodesPerGroup === 0)
    throw damaged(name, `inodes of ${inodeSize} bytes`);
  return {
    tally: openTally(),
    source,
    name,
    blockSize,
    inodeSize,
    inodeCount: head.readUInt32LE(0),
    inodesPerGroup,
    groups: (head.readUInt32LE(20) + 1) * blockSize,
    groupSize: (incompatible & 0x80) === 0 ? 32 : Math.max(32, head.readUInt16LE(254)),
  };
}

function readAt(source: ByteSource, at: number, length: number, where: string): Buffer {
  const bytes = Buffer.from(source.read(at, length));
  if (bytes.length !== length) throw damaged(where, `a read of ${length} bytes at ${at}`, `inside of ${source.size}`);
  return bytes;
}

interface Core {
  readonly bytes: Buffer;
  readonly mode: number;
  readonly size: number;
  readonly flags: number;
}

const EXTENTS = 0x80000;
const INLINE = 0x1000_0000;

function readInode({ source, name, ...image }: Image, number: number): Core {
  if (number < 1 || number > image.inodeCount) throw damaged(name, `inode ${number}`, `up to ${image.inodeCount}`);
  const group = Math.floor((number - 1) / image.inodesPerGroup);
  const descriptor = readAt(source, image.groups + group * image.groupSize, image.groupSize, name);
  const table = descriptor.readUInt32LE(8) + (image.groupSize >= 64 ? descriptor.readUInt32LE(40) * 2 ** 32 : 0);
  const at = table * image.blockSize + ((number - 1) % image.inodesPerGroup) * image.inodeSize;
  const bytes = readAt(source, at, image.inodeSize, `${name}, inode ${number}`);
  const mode = bytes.readUInt16LE(0);
  const size = bytes.readUInt32LE(4) + bytes.readUInt32LE(108) * 2 ** 32;
  const flags = bytes.readUInt32LE(32);
  if ((flags & INLINE) !== 0) throw damaged(name, "data inside an inode, which is not read here");
  if (size > Number.MAX_SAFE_INTEGER) throw damaged(name, `a file of ${size} bytes`);
  return { bytes, mode, size, flags };
}

function toInode(image: Image, core: Core): Inode {
  const { bytes } = core;
  const type = typeOfMode(core.mode, image.name);
  const attributes: InodeAttributes = {
    mode: core.mode & 0o7777,
    uid: bytes.readUInt16LE(2) + bytes.readUInt16LE(120) * 65_536,
    gid: bytes.readUInt16LE(24) + bytes.readUInt16LE(122) * 65_536,
    mtime: { seconds: bytes.readInt32LE(16), nanoseconds: 0 },
    xattrs: readXattrs(image, bytes),
  };
  if (type === "directory") return emptyFolder(attributes);
  if (type === "file") return { type, size: core.size, open: () => openContent(image, core), ...attributes };
  if (type === "symlink") return { type, target: decodeName(readTarget(image, core)), ...attributes };
  if (type === "fifo") return { type, ...attributes };
  const old = bytes.readUInt32LE(40);
  const device = old === 0 ? decodeDevice(bytes.readUInt32LE(44)) : { major: (old >> 8) & 0xff, minor: old & 0xff };
  return { type, device, ...attributes };
}

/** A short target stands in place of the block numbers. */
function readTarget(image: Image, core: Core): Uint8Array {
  if (core.size > 4096) throw damaged(image.name, `a link of ${core.size} bytes`);
  image.tally.meta(core.size, image.name);
  if (core.size < 60 && (core.flags & EXTENTS) === 0) return core.bytes.subarray(40, 40 + core.size);
  return openContent(image, core).read(0, core.size);
}

function* listFolder(image: Image, content: ByteSource): Iterable<readonly [string, number]> {
  const where = `${image.name}, a folder`;
  if (content.size > image.source.size) throw damaged(where, `${content.size} bytes`);
  for (let start = 0; start < content.size; start += image.blockSize) {
    const block = Buffer.from(content.read(start, image.blockSize));
    for (let at = 0; at + 8 <= block.length;) {
      const [number, length, nameLength] = [block.readUInt32LE(at), block.readUInt16LE(at + 4), block[at + 6]!];
      if (length < 8 || at + length > block.length || nameLength + 8 > length)
        throw damaged(where, `an entry of ${length} bytes`);
      // Inode 0: a hole, an index of hashes, or a checksum.
      if (number !== 0) {
        const entry = decodeName(block.subarray(at + 8, at + 8 + nameLength));
        if (entry === "" || entry.includes("/") || entry.includes("\0")) throw damaged(where, `the name ${entry}`);
        if (entry !== "." && entry !== "..") yield [entry, number];
      }
      at += length;
    }
  }
}

function isEmpty(image: Image, number: number): boolean {
  const core = readInode(image, number);
  return (core.mode & 0xf000) === 0x4000 && [...listFolder(image, openContent(image, core))].length === 0;
}

function openContent(image: Image, core: Core): ByteSource {
  const runs = (core.flags & EXTENTS) !== 0 ? readExtents(image, core) : readBlockMap(image, core);
  const pieces = runs
    .sort((a, b) => a.first - b.first)
    .map(({ first, count, block }): Piece => {
      const start = first * image.blockSize;
      const end = Math.min(core.size, start + count * image.blockSize);
      return { start, end, read: (at, length) => image.source.read(block * image.blockSize + at, length) };
    })
    .filter(({ start, end }) => start < end);
  return piecesSource(image.name, core.size, pieces, true);
}

/** Blocks of a file that stand together in the image. */
interface Run {
  readonly first: number;
  readonly count: number;
  readonly block: number;
}

/** A file cannot name more blocks than the image has (and the blocks of numbers); hostile ones name them again and again. */
function openBudget({ source, blockSize, name }: Image): () => void {
  let left = 2 * Math.ceil(source.size / blockSize) + 1024;
  return () => {
    if (left-- <= 0) throw damaged(name, "a file of more blocks than the image has");
  };
}

/** A tree whose root stands in the inode; no tree of an honest image is higher than five. */
function readExtents(image: Image, { bytes }: Core): Run[] {
  const runs: Run[] = [];
  const budget = openBudget(image);
  const visit = (node: Buffer, depth: number): void => {
    budget();
    const count = node.readUInt16LE(2);
    const left = node.readUInt16LE(6);
    if (node.readUInt16LE(0) !== 0xf30a || depth > 5 || 12 + count * 12 > node.length)
      throw damaged(image.name, "a tree of extents that is none");
    for (let at = 12; at < 12 + count * 12; at += 12) {
      const first = node.readUInt32LE(at);
      if (left > 0) {
        const child = node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32;
        visit(readAt(image.source, child * image.blockSize, image.blockSize, image.name), depth + 1);
        continue;
      }
      const length = node.readUInt16LE(at + 4);
      const block = node.readUInt32LE(at + 8) + node.readUInt16LE(at + 6) * 2 ** 32;
      // More than 32768: reserved but never written, so it reads as zeros.
      if (length <= 32_768) runs.push({ first, count: length, block });
      budget();
    }
  };
  visit(bytes.subarray(40, 100), 0);
  return runs;
}

/** Twelve blocks in the inode, then blocks of numbers in one, two and three steps. */
function readBlockMap(image: Image, { bytes, size }: Core): Run[] {
  const runs: Run[] = [];
  const budget = openBudget(image);
  const perBlock = image.blockSize / 4;
  const wanted = Math.ceil(size / image.blockSize);
  const add = (first: number, block: number): void => {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === first && last.block + last.count === block)
      runs[runs.length - 1] = { ...last, count: last.count + 1 };
    else runs.push({ first, count: 1, block });
  };
  const visit = (block: number, steps: number, first: number): void => {
    if (block === 0 || first >= wanted) return;
    budget();
    if (steps === 0) return add(first, block);
    const numbers = readAt(image.source, block * image.blockSize, image.blockSize, image.name);
    const span = perBlock ** (steps - 1);
    for (let at = 0; at < perBlock && first + at * span < wanted; at++)
      visit(numbers.readUInt32LE(at * 4), steps - 1, first + at * span);
  };
  for (let at = 0; at < 12; at++) visit(bytes.readUInt32LE(40 + at * 4), 0, at);
  visit(bytes.readUInt32LE(88), 1, 12);
  visit(bytes.readUInt32LE(92), 2, 12 + perBlock);
  visit(bytes.readUInt32LE(96), 3, 12 + perBlock + perBlock ** 2);
  return runs;
}

const prefixes: Readonly<Record<number, string>> = {
  1: "user.",
  2: "system.posix_acl_access",
  3: "system.posix_acl_default",
  4: "trusted.",
  6: "security.",
  7: "system.",
};
const XATTRS = 0xea020000;

/** Attributes behind the inode's fields, and in a block of their own. */
function readXattrs(image: Image, bytes: Buffer): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const inside = bytes.length > 130 ? 128 + bytes.readUInt16LE(128) : bytes.length;
  if (inside + 4 <= bytes.length && bytes.readUInt32LE(inside) === XATTRS)
    readXattrList(image, bytes.subarray(inside + 4), 0, found);
  const block = bytes.readUInt32LE(104) + bytes.readUInt16LE(118) * 2 ** 32;
  if (block !== 0) {
    const outside = readAt(image.source, block * image.blockSize, image.blockSize, image.name);
    if (outside.readUInt32LE(0) !== XATTRS) throw damaged(image.name, "a block of attributes that is none");
    readXattrList(image, outside, 32, found);
  }
  return found;
}

function readXattrList(image: Image, area: Buffer, start: number, found: Map<string, Uint8Array>): void {
  for (let at = start; at + 16 <= area.length && area.readUInt32LE(at) !== 0;) {
    const [nameLength, prefix, offset, size] = [
      area[at]!,
      area[at + 1]!,
      area.readUInt16LE(at + 2),
      area.readUInt32LE(at + 8),
    ];
    if (at + 16 + nameLength > area.length || offset + size > area.length)
      throw damaged(image.name, "an attribute out of bounds");
    const name = (prefixes[prefix] ?? "") + decodeName(area.subarray(at + 16, at + 16 + nameLength));
    image.tally.meta(16 + nameLength + size, image.name);
    found.set(name, Uint8Array.from(area.subarray(offset, offset + size)));
    at += 16 + Math.ceil(nameLength / 4) * 4;
  }
}
