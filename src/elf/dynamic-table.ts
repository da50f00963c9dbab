import { readRange } from "./address.ts";
import { DT } from "./constants.ts";
import type { ElfFile } from "./file.ts";
import { refused } from "./problems.ts";
import { Dyn } from "./structs.ts";

/**
 * The dynamic table while it is edited. It never moves and never grows: loaders address their own PC-relative, and
 * `_DYNAMIC`, RELRO and debuggers know its place. New entries go into spare DT_NULL slots.
 */
export interface DynamicTable {
  /** In table order, without the terminator. */
  entries: TableEntry[];
  /** Slots in the file, the one for the terminator included. */
  readonly capacity: number;
  /** The slots as they are in the file, and their bytes. */
  readonly slots: readonly Dyn[];
  readonly bytes: Uint8Array;
}

/** One entry as it will be written. */
export interface TableEntry {
  tag: number;
  value: bigint;
  /** The entry's slot in the file; undefined for a new one. */
  readonly slot?: number;
}

/**
 * What gives way when there is no spare slot, cheapest first, and what is lost: nothing but a hint that speeds up
 * relocation (glibc elf/dynamic-link.h), a number that chains make superfluous (glibc and musl never read it),
 * and what a debugger finds the loaded libraries by.
 */
const dispensableTags: readonly { readonly tag: number; readonly name: string }[] = [
  { tag: DT.RELACOUNT, name: "DT_RELACOUNT" },
  { tag: DT.RELCOUNT, name: "DT_RELCOUNT" },
  { tag: DT.VERNEEDNUM, name: "DT_VERNEEDNUM" },
  { tag: DT.VERDEFNUM, name: "DT_VERDEFNUM" },
  { tag: DT.DEBUG, name: "DT_DEBUG" },
];

/** The table as it is in the file; undefined for a file without one. */
export function openDynamicTable(file: ElfFile): DynamicTable | undefined {
  if (file.dynamicRange === undefined) return undefined;
  const { offset, length } = file.dynamicRange;
  const bytes = readRange(file, offset, length, "dynamic section");
  const slots = Dyn.readAll(file, bytes);
  // Slots behind the terminator are spare, also those that ld has emptied but for their value (--as-needed).
  const beyond = slots.findIndex(({ tag }, index) => index > file.dynamic.length && tag !== 0n);
  return {
    entries: file.dynamic.map(({ tag, value }, slot) => ({ tag, value, slot })),
    capacity: beyond < 0 ? slots.length : beyond,
    slots,
    bytes,
  };
}

/** Makes room for new entries; the names of those that had to go. */
export function fitEntries(file: ElfFile, table: DynamicTable): string[] {
  const given: string[] = [];
  const isFull = () =>
    table.entries.length >= table.capacity && table.entries.some((entry) => entry.slot === undefined);
  for (const { tag, name } of dispensableTags) {
    if (!isFull()) return given;
    const kept = table.entries.filter((entry) => entry.tag !== tag || entry.slot === undefined);
    if (kept.length < table.entries.length) given.push(name);
    table.entries = kept;
  }
  if (!isFull()) return given;
  throw refused("elf-no-slot", file, "the dynamic section has no room for another entry", {
    got: `${table.entries.length} entries`,
    wanted: `at most ${table.capacity - 1}`,
    hint: "a library is also found by a DT_RPATH on the program that loads it",
  });
}

/** The table's bytes, terminator included, as many as it has in the file. */
export function writeDynamicTable(file: ElfFile, table: DynamicTable): Uint8Array {
  const size = Dyn.size(file);
  // What is not needed stays as it is.
  const bytes = new Uint8Array(table.bytes.subarray(0, table.capacity * size));
  table.entries.forEach(({ tag, value, slot }, index) => {
    const old = slot === undefined ? undefined : table.slots[slot]!;
    // The tag of an old entry is taken raw: beyond 2^53 `tag` is rounded.
    const raw = old !== undefined && Number(old.tag) === tag ? old.tag : BigInt(tag);
    if (slot === index && raw === old?.tag && value === old.value) return;
    const moved = slot === undefined ? 0 : (index - slot) * size;
    // Its value is a distance from its own slot (patchelf#82).
    const adjusted = tag === DT.MIPS_RLD_MAP_REL ? BigInt.asUintN(file.bits, value - BigInt(moved)) : value;
    bytes.set(Dyn.write(file, { tag: raw, value: adjusted }), index * size);
  });
  for (let index = table.entries.length; index < table.capacity; index++) {
    const isSpare = index > table.entries.length && table.slots[index]!.tag === 0n;
    if (!isSpare) bytes.fill(0, index * size, (index + 1) * size);
  }
  return bytes;
}

/** The last entry with that tag: the one that counts. */
export function lastEntry(table: DynamicTable, tag: number): TableEntry | undefined {
  return table.entries.findLast((entry) => entry.tag === tag);
}

/** Sets the value of the tag's entries, if there are any. */
export function setValue(table: DynamicTable, tag: number, value: bigint): void {
  for (const entry of table.entries) if (entry.tag === tag) entry.value = value;
}
