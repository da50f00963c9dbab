import { formatUuid } from "../../core/uuid.ts";
import { crc32 } from "./crc32.ts";

/** One partition of an image. */
export interface Partition {
  /** GUIDs as text. */
  readonly type: string;
  readonly id: string;
  /** At most 36 UTF-16 units. */
  readonly label: string;
  /** Bytes, a multiple of {@link ALIGN}. */
  readonly size: number;
}

/** Where everything of a partitioned image stands, in bytes. */
export interface DiskLayout {
  readonly size: number;
  /** First byte of each partition, in order. */
  readonly starts: readonly number[];
  /** Protective MBR, header and entries, for the begin of the image. */
  readonly head: Uint8Array;
  /** Entries and header again, for its end. */
  readonly tail: Uint8Array;
}

const SECTOR = 512;
/** Partitions begin at whole pages, for loop devices and dm-verity. */
export const ALIGN = 4096;
const ENTRIES = 128;
const ENTRY = 128;
const TABLE = ENTRIES * ENTRY;
/** Partition attribute 60: read-only (Discoverable Partitions Specification). */
const READ_ONLY = 1n << 60n;

/** A GUID partition table (UEFI 2.10, chapter 5) for the given partitions, one after another. */
export function layOutDisk(partitions: readonly Partition[], diskId: string): DiskLayout {
  const starts: number[] = [];
  let at = roundUp(2 * SECTOR + TABLE, ALIGN);
  for (const { size } of partitions) {
    starts.push(at);
    at = roundUp(at + size, ALIGN);
  }
  const size = at + roundUp(TABLE + SECTOR, ALIGN);
  const last = size / SECTOR - 1;

  const entries = Buffer.alloc(TABLE);
  partitions.forEach((partition, index) => {
    const entry = entries.subarray(index * ENTRY, (index + 1) * ENTRY);
    entry.set(encodeGuid(partition.type), 0);
    entry.set(encodeGuid(partition.id), 16);
    entry.writeBigUInt64LE(BigInt(starts[index]! / SECTOR), 32);
    entry.writeBigUInt64LE(BigInt((starts[index]! + partition.size) / SECTOR - 1), 40);
    entry.writeBigUInt64LE(READ_ONLY, 48);
    entry.write(partition.label.slice(0, 36), 56, "utf16le");
  });

  const header = (own: number, other: number, table: number): Buffer => {
    const block = Buffer.alloc(SECTOR);
    block.write("EFI PART", 0, "latin1");
    block.writeUInt32LE(0x00010000, 8);
    block.writeUInt32LE(92, 12);
    block.writeBigUInt64LE(BigInt(own), 24);
    block.writeBigUInt64LE(BigInt(other), 32);
    block.writeBigUInt64LE(BigInt(2 + TABLE / SECTOR), 40);
    block.writeBigUInt64LE(BigInt(last - 1 - TABLE / SECTOR), 48);
    block.set(encodeGuid(diskId), 56);
    block.writeBigUInt64LE(BigInt(table), 72);
    block.writeUInt32LE(ENTRIES, 80);
    block.writeUInt32LE(ENTRY, 84);
    block.writeUInt32LE(crc32(entries), 88);
    block.writeUInt32LE(crc32(block.subarray(0, 92)), 16);
    return block;
  };
  return {
    size,
    starts,
    head: Buffer.concat([protectiveMbr(size / SECTOR), header(1, last, 2), entries]),
    tail: Buffer.concat([entries, header(last, 1, last - TABLE / SECTOR)]),
  };
}

/** A partition as a reader finds it. */
export interface FoundPartition {
  readonly type: string;
  readonly label: string;
  readonly start: number;
  readonly size: number;
}

/**
 * The partitions in the first table of an image; undefined when there is none, or none that is sound.
 * @param head the image's first bytes, 17 KiB at least.
 */
export function readGpt(head: Uint8Array, size: number): readonly FoundPartition[] | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < 2 * SECTOR || bytes.toString("latin1", SECTOR, SECTOR + 8) !== "EFI PART") return undefined;
  const table = Number(bytes.readBigUInt64LE(SECTOR + 72)) * SECTOR;
  const count = bytes.readUInt32LE(SECTOR + 80);
  const length = bytes.readUInt32LE(SECTOR + 84);
  if (length < ENTRY || count > 1024 || table + count * length > bytes.length) return undefined;
  const found: FoundPartition[] = [];
  for (let at = table; at < table + count * length; at += length) {
    const type = decodeGuid(bytes.subarray(at, at + 16));
    const [first, final] = [Number(bytes.readBigUInt64LE(at + 32)), Number(bytes.readBigUInt64LE(at + 40))];
    if (/^[0-]*$/.test(type)) continue;
    if (final < first || (final + 1) * SECTOR > size) return undefined;
    const label = bytes.toString("utf16le", at + 56, at + 128).replace(/\0[^]*$/, "");
    found.push({ type, label, start: first * SECTOR, size: (final - first + 1) * SECTOR });
  }
  return found;
}

/** One partition of type 0xEE over everything, so that old tools see no free disk. */
function protectiveMbr(sectors: number): Buffer {
  const block = Buffer.alloc(SECTOR);
  block.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff], 446);
  block.writeUInt32LE(1, 454);
  block.writeUInt32LE(Math.min(sectors - 1, 0xffff_ffff), 458);
  block.set([0x55, 0xaa], 510);
  return block;
}

/** The first three fields of a GUID are little-endian. */
function encodeGuid(text: string): Buffer {
  return swap(Buffer.from(text.replaceAll("-", ""), "hex"));
}

function decodeGuid(bytes: Uint8Array): string {
  return formatUuid(swap(Buffer.from(bytes)));
}

function swap(bytes: Buffer): Buffer {
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;
