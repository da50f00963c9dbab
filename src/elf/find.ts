import { encodeName } from "../core/names.ts";
import type { Mapped } from "./address.ts";
import { PF, PT } from "./constants.ts";

/** One window of a search; windows overlap by what is searched for. */
const windowSize = 1 << 20;

/**
 * The file offsets of `text` as a whole NUL-terminated string (not as the end of a longer one) in the read-only
 * segments: the places where an edit of the same length changes a compiled-in name.
 */
export const findString = (file: Mapped, text: string): number[] => findText(file, text, "\0", "\0");

/**
 * The file offsets of an absolute path in the read-only segments: alone, as the beginning of a longer path, in a list
 * (`/etc/sasl2:/usr/lib/sasl2`) or in quotes (`MODULESDIR: "/usr/lib/ossl-modules"`); not as the end of a longer path.
 */
export const findPath = (file: Mapped, path: string): number[] => findText(file, path, '\0:"', '\0/:"');

/** Offsets of `text` between one byte of `before` (or the beginning of a segment) and one of `after`. */
function findText(file: Mapped, text: string, before: string, after: string): number[] {
  const wanted = encodeName(text);
  const [first, last] = [encodeName(before), encodeName(after)];
  const found: number[] = [];
  for (const [start, end] of readOnlyRanges(file)) {
    for (let at = start; at < end; at += windowSize) {
      const from = Math.max(start, at - 1);
      const bytes = readBuffer(file, from, Math.min(windowSize + wanted.length + 1, end - from));
      for (let hit = bytes.indexOf(wanted); hit >= 0; hit = bytes.indexOf(wanted, hit + 1)) {
        const [previous, next] = [bytes[hit - 1], bytes[hit + wanted.length]];
        const begins = from + hit === start || (previous !== undefined && first.includes(previous));
        if (begins && next !== undefined && last.includes(next)) found.push(from + hit);
      }
    }
  }
  return [...new Set(found)].sort((a, b) => a - b);
}

/** No name is longer than a path component; windows overlap by this. */
const nameMax = 256;
/** Bytes of one file that are searched for names; the largest library there is has 150 MB of text. */
const searchMax = 256 << 20;

/**
 * The whole NUL-terminated strings of at most 255 bytes that match, each once, in the read-only segments of a file.
 * `pattern` is what the string looks like from its first to its last byte.
 */
export function matchStrings(file: Mapped, pattern: RegExp): string[] {
  const whole = new RegExp(`(?<=\\0)(?:${pattern.source})(?=\\0)`, "g");
  const found = new Set<string>();
  let left = searchMax;
  for (const [start, end] of readOnlyRanges(file)) {
    for (let at = start; at < end && left > 0; at += windowSize) {
      left -= windowSize;
      // With the byte before; a segment may begin with a string.
      const from = Math.max(start, at - 1);
      const bytes = readBuffer(file, from, Math.min(windowSize + nameMax, end - from));
      const text = (at === start ? "\0" : "") + bytes.toString("latin1");
      for (const [match] of text.matchAll(whole)) if (match.length < nameMax) found.add(match);
    }
  }
  return [...found];
}

/** The file ranges of the PT_LOADs without write permission, as far as the file goes. */
function readOnlyRanges(file: Mapped): [start: number, end: number][] {
  const size = BigInt(file.source.size);
  return file.segments
    .filter((one) => one.type === PT.LOAD && (one.flags & PF.W) === 0 && one.offset < size)
    .map((one) => {
      const end = one.offset + one.filesz;
      return [Number(one.offset), Number(end < size ? end : size)];
    });
}

function readBuffer(file: Mapped, offset: number, length: number): Buffer {
  const bytes = file.source.read(offset, length);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
