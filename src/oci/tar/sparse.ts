import type { ByteSource } from "../../core/bytes.ts";
import { computedSource } from "../file-source.ts";
import type { PaxRecords } from "./pax.ts";
import { BLOCK, readNumber, type Complain } from "./header.ts";

/** Where the stored bytes of a sparse file belong; everything else is zeros. */
export interface SparseMap {
  readonly size: number;
  readonly parts: readonly SparsePart[];
  /** Bytes of the map itself, which stand before the data. */
  readonly mapLength: number;
  /** Whether the map counts as a part of the entry's content (pax format 1.0). */
  readonly isInside: boolean;
}

/** A run of stored bytes of a sparse file. */
export interface SparsePart {
  /** In the file. */
  readonly offset: number;
  readonly length: number;
}

/** Go's archive/tar had to bound this, too: CVE-2025-58183. */
const MAX_PARTS = 100_000;
/** Largest file ext4 holds: a claim beyond it is an attack. */
const MAX_SIZE = 16 * 2 ** 40;

/** GNU's old format: four parts in the header (type S), more in blocks of 21 behind it. */
export function readOldSparseMap(header: Uint8Array, at: number, archive: ByteSource, complain: Complain): SparseMap {
  const parts: { offset: number; length: number }[] = [];
  const readParts = (block: Uint8Array, start: number, count: number): void => {
    for (let n = 0; n < count; n++) {
      const place = start + n * 24;
      if (block[place] === 0) break;
      parts.push({
        offset: readNumber(block, place, 12, complain),
        length: readNumber(block, place + 12, 12, complain),
      });
    }
  };
  readParts(header, 386, 4);
  let mapLength = 0;
  for (let more = header[482] !== 0; more;) {
    const block = archive.read(at + mapLength, BLOCK);
    if (block.length < BLOCK || parts.length > MAX_PARTS) throw complain("a sparse map that is too long or truncated");
    readParts(block, 0, 21);
    more = block[504] !== 0;
    mapLength += BLOCK;
  }
  return { size: readNumber(header, 483, 12, complain), parts, mapLength, isInside: false };
}

/** GNU's pax formats: 0.0 and 0.1 list the parts in records, 1.0 at the beginning of the content. */
export function readPaxSparseMap(records: PaxRecords, data: ByteSource, complain: Complain): SparseMap | undefined {
  const text = (key: string): string | undefined => {
    const value = records.values.get(key);
    return value === undefined ? undefined : Buffer.from(value).toString("latin1");
  };
  const list = text("GNU.sparse.map");
  const size = Number(text("GNU.sparse.realsize") ?? text("GNU.sparse.size") ?? Number.NaN);
  if (text("GNU.sparse.major") === "1") {
    const { numbers, end } = readLeadingNumbers(data, complain);
    return { size, parts: pairs(numbers, complain), mapLength: end, isInside: true };
  }
  if (list === undefined) return undefined;
  return { size, parts: pairs(list.split(",").map(Number), complain), mapLength: 0, isInside: true };
}

/** A count and that many pairs, each number on its own line, padded to a whole block. */
function readLeadingNumbers(data: ByteSource, complain: Complain): { numbers: number[]; end: number } {
  const numbers: number[] = [];
  let line = "";
  for (let at = 0; at < data.size; at += BLOCK) {
    for (const byte of data.read(at, BLOCK)) {
      if (byte !== 0x0a) {
        line += String.fromCharCode(byte);
        if (line.length > 20) throw complain("a sparse map that is no list of numbers");
        continue;
      }
      numbers.push(/^\d+$/.test(line) ? Number(line) : Number.NaN);
      line = "";
      const count = numbers[0]!;
      if (!(count <= MAX_PARTS)) throw complain("a sparse map that is too long", `${count} parts`);
      if (numbers.length === 1 + 2 * count) return { numbers: numbers.slice(1), end: at + BLOCK };
    }
  }
  throw complain("a truncated sparse map");
}

function pairs(numbers: readonly number[], complain: Complain): SparseMap["parts"] {
  if (numbers.length % 2 !== 0 || numbers.length > 2 * MAX_PARTS) throw complain("a sparse map of wrong length");
  return numbers.map((offset, n) => ({ offset, length: numbers[n + 1]! })).filter((_, n) => n % 2 === 0);
}

/** The parts that hold anything. @throws when they overlap, run backwards, or need other than the stored bytes. */
export function verifyParts(map: SparseMap, stored: number, complain: Complain): SparsePart[] {
  let used = 0;
  let end = 0;
  const isSize = Number.isSafeInteger(map.size) && map.size >= 0 && map.size <= MAX_SIZE;
  for (const { offset, length } of map.parts) {
    const isPart = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= end && length >= 0;
    end = offset + length;
    used += length;
    if (!isSize || !isPart || end > map.size || used > stored) {
      throw complain("a sparse map that does not fit its file");
    }
  }
  if (!isSize) throw complain("a sparse file of impossible size", `${map.size}`);
  return map.parts.filter(({ length }) => length > 0);
}

/** The file in full; `data` are its stored bytes. */
export function sparseSource(data: ByteSource, size: number, parts: readonly SparsePart[]): ByteSource {
  let next = 0;
  const placed = parts.map((part) => {
    const at = next;
    next += part.length;
    return { ...part, at };
  });
  return computedSource(size, (bytes, start) => {
    for (const part of placed) {
      const from = Math.max(part.offset, start);
      const to = Math.min(part.offset + part.length, start + bytes.length);
      if (from < to) bytes.set(data.read(part.at + from - part.offset, to - from), from - start);
    }
  });
}
