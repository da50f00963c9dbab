import type { ByteSource } from "../../core/bytes.ts";
import type { Tally } from "../../oci/limits.ts";
import { type Cursor, cursorAt, damaged } from "../cursor.ts";
import type { Expand } from "../decompress.ts";
import type { Reference, Superblock } from "./superblock.ts";

/** What every part of the reader needs. */
export interface Image {
  readonly source: ByteSource;
  readonly name: string;
  readonly head: Superblock;
  readonly expand: Expand;
  readonly tally: Tally;
}

/** Bytes of a full metadata block, expanded. */
const METADATA = 8192;
/** Bytes of one table, expanded: no honest image's comes near. A block that holds zeros takes twenty in the image. */
const tableLimit = 256 << 20;

/** An expanded table: its bytes, and where each of its blocks begins in them. */
export interface Table {
  readonly bytes: Uint8Array;
  readonly starts: ReadonlyMap<number, number>;
  readonly where: string;
}

/** All metadata blocks from `start` to `end` (offsets in the image). */
export function readTable({ source, name, expand }: Image, start: number, end: number, part: string): Table {
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

/** A cursor at the place in an expanded table that a reference means. */
export function cursorIn(table: Table, { block, offset }: Reference): Cursor {
  const start = table.starts.get(block);
  if (start === undefined) throw damaged(table.where, `a reference to block ${block}`);
  return cursorAt(table.bytes, start + offset, table.where);
}

/** A table behind an array of pointers to its blocks (ids, fragments, xattr ids); the blocks end at `end`. */
export function readIndexed(image: Image, at: number, bytes: number, part: string, end = at): Table {
  const where = `${image.name}, ${part}`;
  const count = Math.ceil(bytes / METADATA);
  if (count === 0) return { bytes: new Uint8Array(0), starts: new Map(), where };
  if (bytes > tableLimit) throw damaged(where, `${bytes} bytes`);
  const pointers = cursorAt(image.source.read(at, count * 8), 0, where);
  return readTable(image, pointers.u64(), end, part);
}

/** Users and groups, by the number that inodes have for them. */
export function readIds(image: Image): readonly number[] {
  const { idTable, idCount } = image.head;
  const cursor = cursorAt(readIndexed(image, idTable, idCount * 4, "id table").bytes, 0, `${image.name}, id table`);
  return Array.from({ length: idCount }, () => cursor.u32());
}

/** A block that holds the tails of several files. */
export interface Fragment {
  /** Offset in the image. */
  readonly start: number;
  /** As inodes have the sizes of blocks: stored bytes, and bit 24 when they are not compressed. */
  readonly size: number;
}

/** Each is read when it is asked for: sixteen bytes of zeros cost a bomb nothing. */
export function readFragments(image: Image): (index: number) => Fragment {
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
