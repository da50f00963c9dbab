import { encodeName } from "../core/names.ts";
import type { Mapped } from "./address.ts";
import { PF, PT } from "./constants.ts";
import type { Phdr } from "./structs.ts";

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

/** No name is longer than a path component. */
const nameMax = 256;
/** Bytes of one file that are searched for names; the largest library there is has 150 MB of text. */
const searchMax = 256 << 20;

/**
 * The whole NUL-terminated strings of at most 255 bytes that match, each once, among a file's constants.
 * `pattern` is what the string looks like from its first to its last byte.
 */
export function matchStrings(file: Mapped, pattern: RegExp): string[] {
  const whole = new RegExp(`(?<=\\0)(?:${pattern.source})(?=\\0)`, "g");
  const found = matchText(file, constantRanges(file), whole, nameMax);
  return [...found].filter((match) => match.length < nameMax);
}

/**
 * What `pattern` finds in the loaded bytes of a file that are no code, each once; a segment begins as if a NUL stood
 * before it. `most` is the length of the longest match with what it looks at behind itself.
 */
export const matchData = (file: Mapped, pattern: RegExp, most: number): ReadonlySet<string> =>
  matchText(file, loadedRanges(file, holdsData(file)), pattern, most);

function matchText(file: Mapped, ranges: readonly Range[], pattern: RegExp, most: number): ReadonlySet<string> {
  const found = new Set<string>();
  let left = searchMax;
  for (const [start, end] of ranges) {
    for (let at = start; at < end && left > 0; at += windowSize) {
      left -= windowSize;
      // With the byte before; a segment may begin with a string. Windows overlap by the longest match.
      const from = Math.max(start, at - 1);
      const bytes = readBuffer(file, from, Math.min(windowSize + most, end - from));
      const text = (at === start ? "\0" : "") + bytes.toString("latin1");
      for (const [match] of text.matchAll(pattern)) found.add(match);
    }
  }
  return found;
}

type Range = readonly [start: number, end: number];

const isReadOnly = ({ flags }: Phdr): boolean => (flags & PF.W) === 0;

/**
 * Which segments hold more than code. A linker that keeps code apart (ld -z separate-code, lld) puts headers and constants
 * into segments that are not executable; without such a segment the constants stand among the code.
 */
function holdsData({ segments }: Mapped): (segment: Phdr) => boolean {
  const isApart = segments.some(({ type, offset, flags }) => type === PT.LOAD && offset === 0n && (flags & PF.X) === 0);
  return ({ flags }) => !isApart || (flags & PF.X) === 0;
}

const readOnlyRanges = (file: Mapped): Range[] => loadedRanges(file, isReadOnly);

function constantRanges(file: Mapped): Range[] {
  const isData = holdsData(file);
  return loadedRanges(file, (segment) => isReadOnly(segment) && isData(segment));
}

/** The file ranges of some PT_LOADs, as far as the file goes. */
function loadedRanges(file: Mapped, isWanted: (segment: Phdr) => boolean): Range[] {
  const size = BigInt(file.source.size);
  return file.segments
    .filter((one) => one.type === PT.LOAD && one.offset < size && isWanted(one))
    .map((one) => {
      const end = one.offset + one.filesz;
      return [Number(one.offset), Number(end < size ? end : size)];
    });
}

function readBuffer(file: Mapped, offset: number, length: number): Buffer {
  const bytes = file.source.read(offset, length);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
