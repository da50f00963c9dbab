import type { ByteSource } from "../../core/bytes.ts";
import { damaged } from "../cursor.ts";

/** What the superblock tells; tables by their offset in the image, undefined where there is none. */
export interface Superblock {
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
export interface Reference {
  readonly block: number;
  readonly offset: number;
}

const compressors = ["", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
/** As it stands in 64 bits: the block's offset above, that in the block in the lowest 16. */
export const toReference = (value: bigint): Reference => ({
  block: Number(value >> 16n),
  offset: Number(value & 0xffffn),
});

/** @throws FlixwrapError `pack-damaged-image` for anything but version 4 with its tables inside the image. */
export function readSuperblock(source: ByteSource, name: string): Superblock {
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
