import { readMapped } from "./address.ts";
import { DT, SHT, stringTags } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { lastValue } from "./file.ts";
import { hex, refused } from "./problems.ts";
import { nameSectionIndex } from "./sections.ts";
import { Sym } from "./structs.ts";
import { walkDefined, walkNeeded } from "./versions.ts";

/** Who refers to which string of the dynamic string table, by offset. */
export interface References {
  add(offset: number): void;
  remove(offset: number): void;
  /** Bytes that a string may take at `offset`, its NUL included: 0 when anything refers to a byte of what is there. */
  roomAt(table: Uint8Array, offset: number): number;
  /** Where the last string ends that is referred to. */
  end(table: Uint8Array): number;
}

/** As many references as one byte counts are too many to ever be taken back. */
const manyUses = 255;

/** The sections that are known to hold nothing but references that are collected. */
const knownLinks: ReadonlySet<number> = new Set([SHT.DYNAMIC, SHT.DYNSYM, SHT.GNU_VERDEF, SHT.GNU_VERNEED, SHT.NULL]);

/** All references of the file as it is; undefined when there may be others (prelink's lists, a table shared with section names). */
export function collectReferences(draft: Draft, section: number, size: number): References | undefined {
  const { file } = draft;
  if (lastValue(file, DT.GNU_LIBLIST) !== undefined) return undefined;
  if (section >= 0) {
    const links = draft.sections.filter((one) => one.link === section);
    if (links.some((one) => !knownLinks.has(one.type)) || nameSectionIndex(file) === section) return undefined;
  }
  // New strings lie behind the old table; they are told apart by their offsets, so nobody counts them.
  const uses = new Uint8Array(size);
  const add = (offset: number): void => {
    if (offset < size && uses[offset]! < manyUses) uses[offset]! += 1;
  };
  const addOld = (offset: number) => {
    // The loader would read it, but it would stay behind if the table moved.
    if (offset >= size)
      throw refused("elf-no-strings", file, "a string lies behind the dynamic string table", { got: hex(offset) });
    add(offset);
  };
  for (const { tag, value } of file.dynamic) if (stringTags.has(tag)) addOld(Number(value));
  const symbols = lastValue(file, DT.SYMTAB);
  const count = draft.symbolCount();
  // Files without any hash table do not tell how many symbols there are.
  if (symbols !== undefined && count === 0) return undefined;
  if (symbols !== undefined) {
    const step = Sym.size(file);
    const bytes = readMapped(file, symbols, count * step, "dynamic symbols");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    // st_name comes first in both classes.
    const little = file.endian === "little";
    for (let at = 0; at < bytes.length; at += step) addOld(view.getUint32(at, little));
  }
  for (const { record, auxiliaries } of walkNeeded(file)) {
    addOld(record.file);
    for (const { name } of auxiliaries) addOld(name);
  }
  for (const { auxiliaries } of walkDefined(file)) for (const { name } of auxiliaries) addOld(name);
  return {
    add,
    remove(offset) {
      if (offset < size && uses[offset]! > 0 && uses[offset]! < manyUses) uses[offset]! -= 1;
    },
    roomAt: (table, offset) => roomAt(table, offset, (at) => uses[at]! > 0),
    end(table) {
      const last = uses.subarray(0, table.length).findLastIndex((one) => one > 0);
      return last < 0 ? 1 : table.indexOf(0, last) + 1;
    },
  };
}

function roomAt(table: Uint8Array, offset: number, isUsed: (at: number) => boolean): number {
  // The end of a longer string is not a place of its own.
  if (offset <= 0 || offset >= table.length || table[offset - 1] !== 0) return 0;
  const end = table.indexOf(0, offset);
  for (let at = offset; at <= end; at++) if (isUsed(at)) return 0;
  // Zeros behind it are what an earlier, shorter string left.
  let room = end + 1;
  while (room < table.length && table[room] === 0 && !isUsed(room)) room++;
  return room - offset;
}
