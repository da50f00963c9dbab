import { Readable } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { CHUNK } from "./file-source.ts";
import type { PaxRecords } from "./pax.ts";
import { BLOCK, readNumber, type Complain } from "./tar-header.ts";

/** Where the stored bytes of a sparse file belong; everything else is zeros. */
export interface SparseMap {
  readonly size: number;
  readonly parts: readonly { readonly offset: number; readonly length: number }[];
  /** Bytes of the map itself, which stand before the data. */
  readonly mapLength: number;
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
  return { size: readNumber(header, 483, 12, complain), parts, mapLength };
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
    return { size, parts: pairs(numbers, complain), mapLength: end };
  }
  if (list === undefined) return undefined;
  return { size, parts: pairs(list.split(",").map(Number), complain), mapLength: 0 };
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

/** The file in full. @throws when parts overlap, run backwards, or need other than the stored bytes. */
export function sparseSource(data: ByteSource, map: SparseMap, complain: Complain): ByteSource {
  const bad = (): never => {
    throw complain("a sparse map that does not fit its file");
  };
  if (!Number.isSafeInteger(map.size) || map.size < 0 || map.size > MAX_SIZE) bad();
  const placed: { offset: number; length: number; at: number }[] = [];
  let at = 0;
  let end = 0;
  for (const { offset, length } of map.parts) {
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < end || length < 0) bad();
    if (offset + length > map.size || at + length > data.size) bad();
    if (length > 0) placed.push({ offset, length, at });
    at += length;
    end = offset + length;
  }
  const read = (offset: number, length: number): Uint8Array => {
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, map.size - offset)));
    for (const part of placed) {
      const from = Math.max(part.offset, offset);
      const to = Math.min(part.offset + part.length, offset + bytes.length);
      if (from < to) bytes.set(data.read(part.at + from - part.offset, to - from), from - offset);
    }
    return bytes;
  };
  return {
    size: map.size,
    read,
    stream: () =>
      Readable.from(
        (function* chunks() {
          for (let from = 0; from < map.size; from += CHUNK) yield read(from, CHUNK);
        })(),
        { objectMode: false },
      ),
  };
}
