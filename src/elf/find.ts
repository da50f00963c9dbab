import { encodeName } from "../core/names.ts";
import type { Mapped } from "./address.ts";
import { PF, PT } from "./constants.ts";

/** One window of a search; windows overlap by what is searched for. */
const windowSize = 1 << 20;

/**
 * The file offsets of `text` as a whole NUL-terminated string (not as the end of a longer one) in the read-only
 * segments: the places where an edit of the same length changes a compiled-in name.
 */
export function findString(file: Mapped, text: string): number[] {
  const wanted = encodeName(`${text}\0`);
  const found: number[] = [];
  for (const [start, end] of readOnlyRanges(file)) {
    for (let at = start; at < end; at += windowSize) {
      // With the byte before, which ends another string unless the segment begins here.
      const from = Math.max(start, at - 1);
      const bytes = readBuffer(file, from, Math.min(windowSize + wanted.length, end - from));
      for (let hit = bytes.indexOf(wanted); hit >= 0; hit = bytes.indexOf(wanted, hit + 1))
        if (from + hit === start || bytes[hit - 1] === 0) found.push(from + hit);
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
