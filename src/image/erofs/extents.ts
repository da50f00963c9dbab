import type { ByteSource } from "../../core/bytes.ts";
import { damaged } from "../cursor.ts";

/** A compressed run of a file: the bytes `[start, end)` come from `length` bytes of the image at `at`. */
export interface Extent {
  readonly start: number;
  readonly end: number;
  readonly at: number;
  readonly length: number;
  /** `none`, or the number of an algorithm (z_erofs_compression types). */
  readonly algorithm: number | "none";
  readonly isInterlaced: boolean;
}

/** A compressed file's runs; its tail may stand in the packed inode. */
export interface CompressedFile {
  readonly extents: readonly Extent[];
  readonly fragment?: { readonly start: number; readonly offset: number };
}

/** One logical cluster, as full and compact indexes tell it (struct z_erofs_lcluster_index). */
interface Cluster {
  readonly type: number;
  /** Where in the cluster a new run begins. */
  readonly offset: number;
  /** Block of the run's data. */
  readonly block: number;
  /** Blocks of the run that began before, when this is its second cluster. */
  readonly blocks?: number;
}

const TYPE = { plain: 0, head1: 1, nonhead: 2, head2: 3 };
/** h_advise. */
const ADVISE = { compact2: 0x1, big1: 0x2, big2: 0x4, inline: 0x8, interlaced: 0x10, fragment: 0x20 };
/** Marks a count of blocks in a distance (Z_EROFS_LI_D0_CBLKCNT). */
const COUNT = 1 << 11;
const COMPACT = 3;

interface Surroundings {
  readonly blockSize: number;
  readonly name: string;
  readonly hasFragments: boolean;
}

/** Reads the cluster indexes behind a compressed inode (linux fs/erofs/zmap.c says what they mean). */
export function readExtents(
  source: ByteSource,
  core: { readonly data: number; readonly size: number; readonly layout: number },
  { blockSize, name, hasFragments }: Surroundings,
): CompressedFile {
  const start = Math.ceil(core.data / 8) * 8;
  const head = Buffer.from(source.read(start, 8));
  if (head.length < 8) throw damaged(name, "an index beyond the image's end");
  const bits = head[7]!;
  // The whole file is a fragment; the rest of the header is its place.
  if (hasFragments && (bits & 0x80) !== 0) {
    const offset = head.readBigUInt64LE(0) & ~(1n << 63n);
    return { extents: [], fragment: { start: 0, offset: Number(offset) } };
  }
  const advise = head.readUInt16LE(4);
  const algorithm = head[6]!;
  const clusterSize = blockSize * 2 ** (bits & 7);
  const count = Math.ceil(core.size / clusterSize);
  if (count * 2 > source.size) throw damaged(name, `a file of ${count} clusters`);
  const index = {
    source,
    name,
    at: start + 8,
    count,
    clusterSize,
    isBig: (advise & (ADVISE.big1 | ADVISE.big2)) !== 0,
  };
  const { clusters, end } =
    core.layout === COMPACT ? readCompact(index, (advise & ADVISE.compact2) !== 0) : readFull(index);

  // A head at the very end begins nothing.
  const heads = clusters.flatMap((cluster, at) => {
    const from = at * clusterSize + cluster.offset;
    return cluster.type === TYPE.nonhead || from >= core.size ? [] : [{ cluster, at, from }];
  });
  const hasFragment = hasFragments && (advise & ADVISE.fragment) !== 0;
  const extents: Extent[] = [];
  let fragment: CompressedFile["fragment"];
  for (const [order, { cluster, at, from }] of heads.entries()) {
    const next = heads[order + 1];
    const to = next?.from ?? core.size;
    if (to < from) throw damaged(name, "clusters out of order");
    if (to === from) continue;
    if (next === undefined && hasFragment) {
      // Full indexes have the offset's upper half in the place of the block.
      const upper = core.layout === COMPACT ? 0 : cluster.block * 2 ** 32;
      fragment = { start: from, offset: head.readUInt32LE(0) + upper };
      continue;
    }
    const isPlain = cluster.type === TYPE.plain;
    const isInline = next === undefined && (advise & ADVISE.inline) !== 0;
    const blocks = clusters[at + 1]?.blocks ?? 1;
    extents.push({
      start: from,
      end: to,
      at: isInline ? end : cluster.block * blockSize,
      length: isInline ? head.readUInt16LE(2) : blocks * blockSize,
      algorithm: isPlain ? "none" : cluster.type === TYPE.head2 ? algorithm >> 4 : algorithm & 15,
      isInterlaced: isPlain && (advise & ADVISE.interlaced) !== 0,
    });
  }
  return fragment === undefined ? { extents } : { extents, fragment };
}

interface Index {
  readonly source: ByteSource;
  readonly name: string;
  readonly at: number;
  readonly count: number;
  readonly clusterSize: number;
  readonly isBig: boolean;
}

interface ReadIndex {
  readonly clusters: readonly Cluster[];
  /** Where the indexes end: inline data follows. */
  readonly end: number;
}

/** Eight bytes per cluster, after eight that are reserved. */
function readFull({ source, name, at, count }: Index): ReadIndex {
  const bytes = Buffer.from(source.read(at + 8, count * 8));
  if (bytes.length < count * 8) throw damaged(name, "an index beyond the image's end");
  const clusters = Array.from({ length: count }, (_, index): Cluster => {
    const entry = bytes.subarray(index * 8, index * 8 + 8);
    const type = entry.readUInt16LE(0) & 3;
    const delta = entry.readUInt16LE(4);
    if (type !== TYPE.nonhead) return { type, offset: entry.readUInt16LE(2), block: entry.readUInt32LE(4) };
    return { type, offset: 0, block: 0, ...((delta & COUNT) === 0 ? {} : { blocks: delta & ~COUNT }) };
  });
  return { clusters, end: at + 8 + count * 8 };
}

/**
 * Packs of clusters: of 2 in 8 bytes until 32-byte alignment, of 16 in 32 bytes as long as they last (where the file
 * has them), and of 2 again. Each pack ends with the block address that its heads count from.
 */
function readCompact(index: Index, hasPairs: boolean): ReadIndex {
  const { source, name, at, count } = index;
  let initial = (32 - (at % 32)) / 4;
  if (initial === 8) initial = 0;
  const two = hasPairs && initial < count ? Math.floor((count - initial) / 16) * 16 : 0;
  const clusters: Cluster[] = [];
  let position = at;
  while (clusters.length < count) {
    const isWide = clusters.length >= initial && clusters.length < initial + two;
    const [members, size] = isWide ? [16, 32] : [2, 8];
    const pack = Buffer.from(source.read(position, size));
    if (pack.length < size) throw damaged(name, "an index beyond the image's end");
    for (const cluster of readPack(pack, members, index)) if (clusters.length < count) clusters.push(cluster);
    position += size;
  }
  return { clusters, end: position };
}

function readPack(pack: Buffer, members: number, { clusterSize, isBig }: Index): readonly Cluster[] {
  const clusterBits = Math.log2(clusterSize);
  const lowBits = Math.max(clusterBits, 12);
  const width = ((pack.length - 4) * 8) / members;
  const base = pack.readUInt32LE(pack.length - 4);
  const decode = (member: number) => {
    const bit = member * width;
    const byte = Math.min(bit >> 3, pack.length - 8);
    const word = Number((pack.readBigUInt64LE(byte) >> BigInt(bit - 8 * byte)) & 0xffff_ffffn);
    return { low: word & ((1 << lowBits) - 1), type: (word >>> lowBits) & 3 };
  };
  const decoded = Array.from({ length: members }, (_, member) => decode(member));
  return decoded.map(({ low, type }, member): Cluster => {
    if (type === TYPE.nonhead)
      return { type, offset: 0, block: 0, ...((low & COUNT) === 0 ? {} : { blocks: low & ~COUNT }) };
    return { type, offset: low, block: base + blocksBefore(decoded, member, isBig) };
  });
}

/** Blocks of the pack's runs before a head (unpack_compacted_index() of zmap.c). */
function blocksBefore(
  decoded: readonly { readonly low: number; readonly type: number }[],
  member: number,
  isBig: boolean,
): number {
  let blocks = isBig ? 0 : 1;
  for (let at = member; at > 0;) {
    at--;
    const { low, type } = decoded[at]!;
    if (!isBig) {
      if (type === TYPE.nonhead) at -= low;
      if (at >= 0) blocks++;
    } else if (type !== TYPE.nonhead) blocks++;
    else if ((low & COUNT) !== 0) {
      at--;
      blocks += low & ~COUNT;
    } else at -= Math.max(0, low - 2);
  }
  return blocks;
}
