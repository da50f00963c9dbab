import type { ByteSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import { openTally, type Tally } from "../oci/limits.ts";
import { type FolderInode, type Inode, type InodeAttributes, emptyFolder } from "../oci/tree.ts";
import { damaged } from "./cursor.ts";
import { chooseExpander } from "./decompress.ts";
import { type ReadInode, readTree, typeOfMode } from "./inodes.ts";
import { type Piece, piecesSource } from "./pieces.ts";

/**
 * Reads a btrfs image of one device without mounting it: the default subvolume, inline, plain and compressed (zlib,
 * zstd) files. Layout: btrfs.readthedocs.io, "On-disk format"; linux include/uapi/linux/btrfs_tree.h.
 */
export function readBtrfs(source: ByteSource, name: string): FolderInode {
  const { volume, tree } = openVolume(source, name);
  const parts = readParts(volume, tree);
  const read = (id: number): ReadInode<number> => {
    const part = parts.get(id);
    if (part?.item === undefined) throw damaged(name, `no inode ${id}`);
    return { inode: toInode(volume, part, part.item), list: () => part.entries };
  };
  return readTree({ root: FIRST, keyOf: (id) => id, read, most: parts.size, tally: volume.tally }, name);
}

/** Types of items, and objects that are always there. */
const ITEM = { inode: 1, xattr: 24, entryByHash: 84, entry: 96, extent: 108, root: 132, chunk: 228 };
const ROOT_FOLDER = 6;
const FIRST = 256;

interface Chunk {
  readonly logical: number;
  readonly length: number;
  readonly physical: number;
}

interface Volume {
  readonly tally: Tally;
  readonly source: ByteSource;
  readonly name: string;
  readonly nodeSize: number;
  /** Where logical addresses, which all others are, stand in the image; in order. */
  readonly chunks: readonly Chunk[];
}

interface Tree {
  readonly at: number;
  readonly level: number;
}

interface Item {
  readonly id: number;
  readonly type: number;
  readonly offset: number;
  /** A view of the whole node: whoever keeps a part of it makes a copy. */
  readonly data: Buffer;
  /** The logical address of `data`. */
  readonly place: number;
}

function openVolume(source: ByteSource, name: string): { volume: Volume; tree: Tree } {
  const head = Buffer.from(source.read(65_536, 4096));
  if (head.length < 4096 || head.toString("latin1", 0x40, 0x48) !== "_BHRfS_M")
    throw damaged(name, "no btrfs superblock");
  const nodeSize = head.readUInt32LE(0x94);
  if (nodeSize < 4096 || nodeSize > 65_536 || (nodeSize & (nodeSize - 1)) !== 0)
    throw damaged(name, `nodes of ${nodeSize} bytes`);
  if (u64(head, 0x88) !== 1) throw damaged(name, `a file system of ${u64(head, 0x88)} devices`);
  if (u64(head, 0x60) !== 0) throw damaged(name, "a log: it was not unmounted cleanly");
  // The chunks that hold the tree of chunks stand in the superblock.
  const first = head.subarray(0x32b, 0x32b + Math.min(2048, head.readUInt32LE(0xa0)));
  const tally = openTally();
  const system: Chunk[] = [];
  for (let at = 0; at < first.length; at += 17 + 48 + first.readUInt16LE(at + 17 + 44) * 32) {
    if (at + 97 > first.length) throw damaged(name, "a chunk that is cut off");
    system.push(toChunk(name, u64(first, at + 9), first.subarray(at + 17)));
  }
  const inOrder = (chunks: readonly Chunk[]) => chunks.toSorted((a, b) => a.logical - b.logical);
  const ofChunks = itemsOf(
    { tally, source, name, nodeSize, chunks: inOrder(system) },
    { at: u64(head, 0x58), level: head[0xc7]! },
  );
  const all = [...ofChunks].flatMap(({ type, offset, data }) =>
    type === ITEM.chunk ? [toChunk(name, offset, data)] : [],
  );
  const volume: Volume = { tally, source, name, nodeSize, chunks: inOrder(all) };
  const roots = [...itemsOf(volume, { at: u64(head, 0x50), level: head[0xc6]! })];
  // The folder of roots names the default subvolume; 5 is the one that is always there.
  const named = roots.filter(({ id, type }) => id === ROOT_FOLDER && type === ITEM.entryByHash);
  const entries = named.flatMap(({ data }) => [...listNamed(name, data)]);
  const usual = entries.find(([entry]) => entry === "default");
  const chosen = usual === undefined ? 5 : u64(usual[2], 0);
  const root = roots.find(({ id, type }) => id === chosen && type === ITEM.root);
  if (root === undefined || root.data.length < 239) throw damaged(name, `no tree ${chosen}`);
  return { volume, tree: { at: u64(root.data, 176), level: root.data[238]! } };
}

/** One device: of two copies the first one serves. */
function toChunk(name: string, logical: number, data: Buffer): Chunk {
  if (data.length < 80) throw damaged(name, "a chunk that is cut off");
  const flags = u64(data, 24);
  // RAID0, RAID10, RAID5 and RAID6 spread a chunk over stripes.
  if ((flags & 0x1c8) !== 0 && data.readUInt16LE(44) > 1) throw damaged(name, "a chunk in stripes");
  return { logical, length: u64(data, 0), physical: u64(data, 56) };
}

/** Bytes at a logical address; they stand in one chunk. */
function readLogical({ source, name, chunks }: Volume, at: number, length: number): Buffer {
  let [low, high] = [0, chunks.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (chunks[middle]!.logical <= at) low = middle + 1;
    else high = middle;
  }
  const chunk = chunks[low - 1];
  if (chunk === undefined || at + length > chunk.logical + chunk.length)
    throw damaged(name, `nothing at the logical address ${at}`);
  const bytes = Buffer.from(source.read(chunk.physical + at - chunk.logical, length));
  if (bytes.length !== length) throw damaged(name, `${bytes.length} of ${length} bytes: the image is cut off`);
  return bytes;
}

const HEADER = 101;

/** A tree's items in order; no node of an honest tree is met twice. */
function* itemsOf(volume: Volume, { at, level }: Tree, seen = new Set<number>()): Iterable<Item> {
  const { name, nodeSize } = volume;
  if (seen.has(at) || level > 7) throw damaged(name, "a tree that is none");
  seen.add(at);
  const node = readLogical(volume, at, nodeSize);
  const [count, size] = [node.readUInt32LE(96), level === 0 ? 25 : 33];
  if (node[100] !== level || HEADER + count * size > nodeSize || u64(node, 48) !== at)
    throw damaged(name, `no node of a tree at ${at}`);
  for (let entry = HEADER; entry < HEADER + count * size; entry += size) {
    if (level > 0) {
      yield* itemsOf(volume, { at: u64(node, entry + 17), level: level - 1 }, seen);
      continue;
    }
    const start = HEADER + node.readUInt32LE(entry + 17);
    const end = start + node.readUInt32LE(entry + 21);
    if (end > nodeSize) throw damaged(name, "an item out of bounds");
    const data = node.subarray(start, end);
    yield { id: u64(node, entry), type: node[entry + 8]!, offset: u64(node, entry + 9), data, place: at + start };
  }
}

/** Identities of trees lie beyond 2^53 and need not be exact; places and sizes do not. */
const u64 = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

/** What a tree says of an inode, wherever it stands. */
interface Parts {
  item?: Buffer;
  readonly entries: (readonly [name: string, id: number])[];
  readonly xattrs: Map<string, Uint8Array>;
  /** Where a file's runs are described: small files stand there whole. */
  readonly extents: { readonly at: number; readonly place: number; readonly length: number }[];
}

function readParts(volume: Volume, tree: Tree): ReadonlyMap<number, Parts> {
  const all = new Map<number, Parts>();
  const { name, tally } = volume;
  for (const { id, type, offset, data, place } of itemsOf(volume, tree)) {
    let part = all.get(id);
    if (part === undefined) all.set(id, (part = { entries: [], xattrs: new Map(), extents: [] }));
    if (type === ITEM.inode) {
      tally.meta(data.length, name);
      part.item = Buffer.from(data);
    } else if (type === ITEM.extent) {
      tally.meta(48, name);
      part.extents.push({ at: offset, place, length: data.length });
    } else if (type === ITEM.entry) part.entries.push(...listEntries(name, data));
    else if (type === ITEM.xattr)
      for (const [key, value] of listNamed(name, data)) {
        tally.meta(16 + key.length + value.length, name);
        part.xattrs.set(key, Uint8Array.from(value));
      }
  }
  return all;
}

/** Entries of a folder: names and what they lead to. */
function listEntries(name: string, data: Buffer): (readonly [name: string, id: number])[] {
  return [...listNamed(name, data)].map(([entry, , key]) => {
    if (entry === "" || entry === "." || entry === ".." || /[/\0]/.test(entry))
      throw damaged(name, `the name ${entry}`);
    if (key[8] === ITEM.root) throw damaged(name, `the subvolume ${entry}, which is not read here`);
    return [entry, u64(key, 0)];
  });
}

/** struct btrfs_dir_item, for entries and attributes alike; several when their hashes are equal. */
function* listNamed(name: string, data: Buffer): Iterable<readonly [name: string, value: Buffer, key: Buffer]> {
  for (let at = 0; at < data.length;) {
    if (at + 30 > data.length) throw damaged(name, "an entry that is cut off");
    const [valueLength, nameLength] = [data.readUInt16LE(at + 25), data.readUInt16LE(at + 27)];
    const [start, end] = [at + 30 + nameLength, at + 30 + nameLength + valueLength];
    if (end > data.length) throw damaged(name, "an entry that is cut off");
    yield [decodeName(data.subarray(at + 30, start)), data.subarray(start, end), data.subarray(at, at + 17)];
    at = end;
  }
}

function toInode(volume: Volume, part: Parts, item: Buffer): Inode {
  const { name } = volume;
  if (item.length < 160) throw damaged(name, "an inode that is cut off");
  const mode = item.readUInt32LE(52);
  const type = typeOfMode(mode, name);
  const size = u64(item, 16);
  if (!Number.isSafeInteger(size)) throw damaged(name, `a file of ${size} bytes`);
  const attributes: InodeAttributes = {
    mode: mode & 0o7777,
    uid: item.readUInt32LE(44),
    gid: item.readUInt32LE(48),
    mtime: { seconds: Number(item.readBigInt64LE(136)), nanoseconds: item.readUInt32LE(144) },
    xattrs: part.xattrs,
  };
  if (type === "directory") return emptyFolder(attributes);
  if (type === "file") return { type, size, open: () => openContent(volume, part, size), ...attributes };
  if (type === "symlink") {
    if (size > 4096) throw damaged(name, `a link of ${size} bytes`);
    volume.tally.meta(size, name);
    return { type, target: decodeName(openContent(volume, part, size).read(0, size)), ...attributes };
  }
  if (type === "fifo") return { type, ...attributes };
  const number = u64(item, 56);
  return { type, device: { major: Math.floor(number / 2 ** 20), minor: number % 2 ** 20 }, ...attributes };
}

const compressions = ["none", "zlib", "lzo", "zstd"];
/** What btrfs compresses at once. */
const compressedLimit = 128 << 10;

function openContent(volume: Volume, { extents }: Parts, size: number): ByteSource {
  const pieces = extents.flatMap(({ at, place, length: told }): Piece[] => {
    const data = readLogical(volume, place, told);
    if (data.length < 21) throw damaged(volume.name, "an extent that is cut off");
    const [whole, kind] = [u64(data, 8), data[20]!];
    const compression = compressions[data[16]!] ?? `number ${data[16]}`;
    const expand = (bytes: Buffer): Uint8Array => expandExtent(volume.name, compression, bytes, whole);
    if (kind === 0) {
      const bytes = data.subarray(21);
      const content = compression === "none" ? bytes : expand(bytes);
      return [
        {
          start: at,
          end: Math.min(size, at + content.length),
          read: (from, length) => content.subarray(from, from + length),
        },
      ];
    }
    if (data.length < 53) throw damaged(volume.name, "an extent that is cut off");
    const [disk, diskLength, offset, length] = [21, 29, 37, 45].map((field) => u64(data, field));
    // Reserved and never written, or a hole.
    if (kind !== 1 || disk === 0) return [];
    let expanded: Uint8Array | undefined;
    const read = (from: number, wanted: number): Uint8Array => {
      if (compression === "none") return readLogical(volume, disk! + offset! + from, wanted);
      if (diskLength! > compressedLimit) throw damaged(volume.name, `${diskLength} compressed bytes`);
      expanded ??= expand(readLogical(volume, disk!, diskLength!));
      const part = expanded.subarray(offset! + from, offset! + from + wanted);
      // Files are read from front to back: an extent that was read to its end is not asked for again.
      if (from + wanted >= length!) expanded = undefined;
      return part;
    };
    return [{ start: at, end: Math.min(size, at + length!), read }];
  });
  return piecesSource(
    volume.name,
    size,
    pieces.filter(({ start, end }) => start < end),
    true,
  );
}

/** Compressed data is filled up with zeros to a whole sector. */
function expandExtent(name: string, compression: string, bytes: Buffer, whole: number): Uint8Array {
  if (whole > compressedLimit) throw damaged(name, `an extent of ${whole} bytes, compressed`);
  const frame = compression === "zstd" ? bytes.subarray(0, zstdFrameLength(name, bytes)) : bytes;
  const content = chooseExpander(compression === "zlib" ? "gzip" : compression, name)([frame], whole, false)[0]!;
  if (content.length === whole) return content;
  // A file's end need not fill its last sector.
  const filled = new Uint8Array(whole);
  filled.set(content);
  return filled;
}

/** Bytes of the frame at the begin (RFC 8878, 3.1.1). */
function zstdFrameLength(name: string, bytes: Buffer): number {
  const cut = () => damaged(name, "a cut zstd frame");
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== 0xfd2fb528) throw damaged(name, "no zstd frame");
  const descriptor = bytes[4]!;
  const isSingle = (descriptor & 0x20) !== 0;
  const contentSize = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  let at = 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + contentSize;
  for (let isLast = false; !isLast;) {
    if (at + 3 > bytes.length) throw cut();
    const header = bytes.readUIntLE(at, 3);
    isLast = (header & 1) === 1;
    // A run is one byte, however long.
    at += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
  }
  at += (descriptor & 4) === 0 ? 0 : 4;
  if (at > bytes.length) throw cut();
  return at;
}
