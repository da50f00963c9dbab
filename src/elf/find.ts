import { decodeName, encodeName } from "../core/names.ts";
import type { Mapped } from "./address.ts";
import { PF, PT } from "./constants.ts";

/** One window of a search; windows overlap by what is searched for. */
const windowSize = 1 << 20;
/** glibc's loader has 0.25 MB of read-only bytes; what is larger is no loader. */
const loaderMax = 8 << 20;

/**
 * The file offsets of `text` as a whole NUL-terminated string (not as the end of a longer one) in the read-only
 * segments: the places where an edit of the same length changes a compiled-in name.
 */
export function findString(file: Mapped, text: string): number[] {
  const wanted = encodeName(`\0${text}\0`);
  const found: number[] = [];
  for (const [start, end] of readOnlyRanges(file)) {
    for (let at = start; at < end; at += windowSize) {
      const bytes = readBuffer(file, at, Math.min(windowSize + wanted.length - 1, end - at));
      for (let hit = bytes.indexOf(wanted); hit >= 0; hit = bytes.indexOf(wanted, hit + 1)) found.push(at + hit + 1);
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

/**
 * The directories compiled into a glibc loader (`system_dirs` of elf/dl-load.c: a run of strings, each an absolute path
 * with a slash at its end, the longest run there is), with the file offset of each. Empty for anything else.
 */
export function readSystemDirectories(file: Mapped): { readonly path: string; readonly offset: number }[] {
  let longest: { path: string; offset: number }[] = [];
  for (const [start, end] of readOnlyRanges(file)) {
    if (end - start > loaderMax) continue;
    const bytes = readBuffer(file, start, end - start);
    // NUL, then: an absolute path that ends in a slash, NUL; several times.
    for (const match of bytes.toString("latin1").matchAll(/(?<=\0)(?:\/[!-~]{1,255}\/\0){1,64}/g)) {
      let offset = start + match.index;
      const run = match[0]
        .slice(0, -1)
        .split("\0")
        .map((latin1) => {
          const entry = { path: decodeName(Buffer.from(latin1, "latin1")), offset };
          offset += latin1.length + 1;
          return entry;
        });
      if (run.length > longest.length && run.every(({ path }) => path.includes("/lib"))) longest = run;
    }
  }
  return longest;
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
