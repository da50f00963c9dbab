import { windowedSource, type ByteSource } from "../core/bytes.ts";
import { locate, openLocator, readRange, unmapped } from "./address.ts";
import { DT, VER_FLG } from "./constants.ts";
import { lastValue, locateDynamicStrings, type ElfFile } from "./file.ts";
import { malformed } from "./problems.ts";
import { Verdaux, Verdef, Vernaux, Verneed } from "./structs.ts";

/** Symbol versions as the loader reads them (LSB Core, "Symbol Versioning"; glibc elf/dl-version.c). */

/** What one object asks of another. */
export interface NeededVersions {
  /** vn_file: the DT_NEEDED name of the object that must define them. */
  readonly file: string;
  readonly versions: readonly NeededVersion[];
}

/** A version that is needed of a library (Vernaux). */
export interface NeededVersion {
  readonly name: string;
  /** vna_hash, the System V hash of the name. */
  readonly hash: number;
  /** VER_FLG_WEAK: its absence is no error. */
  readonly weak: boolean;
  /** vna_other: the index that symbols refer to it by; bit 15 taken off. */
  readonly index: number;
}

/** A version that an object defines (Verdef). */
export interface DefinedVersion {
  readonly name: string;
  readonly hash: number;
  /** VER_FLG_BASE: it names the object itself and no symbol version. */
  readonly base: boolean;
  readonly weak: boolean;
  readonly index: number;
  /** The versions it inherits from. */
  readonly parents: readonly string[];
}

/** Version indices have 15 bits, so no file can use more records. */
const recordsMax = 0x8000;

/** DT_VERNEED, in table order; empty when there is none. */
export const readNeededVersions = once((file): readonly NeededVersions[] => {
  const stringAt = locateDynamicStrings(file);
  return walkNeeded(file).map(({ record, auxiliaries }) => ({
    file: stringAt(record.file),
    versions: auxiliaries.map(({ name, hash, flags, other }) => ({
      name: stringAt(name),
      hash,
      weak: (flags & VER_FLG.WEAK) !== 0,
      index: other & 0x7fff,
    })),
  }));
});

/** DT_VERDEF, in table order; empty when there is none. */
export const readDefinedVersions = once((file): readonly DefinedVersion[] => {
  const stringAt = locateDynamicStrings(file);
  return walkDefined(file).map(({ record, auxiliaries }) => {
    const names = auxiliaries.map(({ name }) => stringAt(name));
    return {
      name: names[0] ?? "",
      hash: record.hash,
      base: (record.flags & VER_FLG.BASE) !== 0,
      weak: (record.flags & VER_FLG.WEAK) !== 0,
      index: record.ndx & 0x7fff,
      parents: names.slice(1),
    };
  });
});

/**
 * The records are small and may lie far apart, so they are read through a window; once for each file, since versions and
 * symbols are both checked by them.
 */
function once<T>(read: (file: ElfFile) => T): (file: ElfFile) => T {
  const known = new WeakMap<ByteSource, { readonly value: T }>();
  return (file) => {
    let found = known.get(file.source);
    if (found === undefined) {
      found = { value: read({ ...file, source: windowedSource(file.source) }) };
      known.set(file.source, found);
    }
    return found.value;
  };
}

/** A record with those that hang on it, and where each lies behind the beginning of the table. */
export interface Chained<R, A> {
  readonly at: number;
  readonly record: R;
  readonly auxiliaries: readonly (A & { readonly at: number })[];
}

/** The raw records of DT_VERNEED. */
export function walkNeeded(file: ElfFile): Chained<Verneed, Vernaux>[] {
  return walk(file, DT.VERNEED, Verneed, Vernaux);
}

/** The raw records of DT_VERDEF. */
export function walkDefined(file: ElfFile): Chained<Verdef, Verdaux>[] {
  return walk(file, DT.VERDEF, Verdef, Verdaux);
}

interface Layout<R> {
  size(file: ElfFile): number;
  read(file: ElfFile, bytes: Uint8Array): R;
}

/** Both tables are lists of lists, chained by distances that only lead forward; a distance of 0 ends them. */
function walk<R extends { cnt: number; aux: number; next: number }, A extends { next: number }>(
  file: ElfFile,
  tag: number,
  outer: Layout<R>,
  inner: Layout<A>,
): Chained<R, A>[] {
  const table = lastValue(file, tag);
  if (table === undefined) return [];
  const locateRecord = openLocator(file, table);
  const readAt = <T>(layout: Layout<T>, at: number): T => {
    const range = locateRecord(at);
    const size = layout.size(file);
    if (range === undefined || size > range.length) throw unmapped(file, range, table + BigInt(at), "symbol versions");
    return layout.read(file, readRange(file, range.offset, size, "symbol versions"));
  };
  const found: Chained<R, A>[] = [];
  let records = 0;
  for (let at = 0, next = 1; next !== 0; at += next) {
    const record = readAt(outer, at);
    const auxiliaries: (A & { at: number })[] = [];
    let auxAt = at + record.aux;
    for (let left = record.cnt; left > 0; left--) {
      const auxiliary = readAt(inner, auxAt);
      auxiliaries.push({ ...auxiliary, at: auxAt });
      if (++records > recordsMax) throw malformed(file, locate(file, table)?.offset ?? 0, "too many symbol versions");
      if (auxiliary.next === 0) break;
      auxAt += auxiliary.next;
    }
    found.push({ at, record, auxiliaries });
    if (++records > recordsMax) throw malformed(file, locate(file, table)?.offset ?? 0, "too many symbol versions");
    next = record.next;
  }
  return found;
}
