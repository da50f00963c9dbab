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
  /** The raw slots, as they are in the file. */
  readonly slots: readonly Dyn[];
}

export interface TableEntry {
  readonly tag: number;
  /** The value; of an entry with `text` the old string's offset, if it had one. */
  readonly value?: bigint;
  /** A string that the string table must get. */
  readonly text?: string;
  /** The entry's slot in the file; undefined for a new one. */
  readonly slot?: number;
}

/** Hints for loaders' speed and nothing else (glibc elf/dynamic-link.h): a last resort for a slot. */
const dispensableTags: readonly number[] = [DT.RELACOUNT, DT.RELCOUNT];

export function openDynamicTable(file: ElfFile): DynamicTable {
  if (file.dynamicRange === undefined) throw refused("elf-not-dynamic", file, "no dynamic section");
  const { offset, length } = file.dynamicRange;
  const slots = Dyn.readAll(file, readRange(file, offset, length, "dynamic section"));
  // Slots behind the terminator are spare as long as they are empty.
  const beyond = slots.findIndex(
    (slot, index) => index > file.dynamic.length && (slot.tag !== 0n || slot.value !== 0n),
  );
  return {
    entries: file.dynamic.map(({ tag, value }, slot) => ({ tag, value, slot })),
    capacity: beyond < 0 ? slots.length : beyond,
    slots,
  };
}

/** Gives way to new entries at the cost of hints where there are no spare slots. */
export function fitEntries(file: ElfFile, table: DynamicTable): void {
  for (const tag of dispensableTags) {
    if (table.entries.length < table.capacity) return;
    table.entries = table.entries.filter((entry) => entry.tag !== tag);
  }
  if (table.entries.length < table.capacity || table.entries.every((entry) => entry.slot !== undefined)) return;
  throw refused("elf-no-slot", file, "the dynamic section has no room for another entry", {
    got: `${table.entries.length} entries`,
    wanted: `at most ${table.capacity - 1}`,
    hint: "an RPATH on the program that loads it serves a library, too",
  });
}

/** The bytes of the edited table. `valueOf` tells where a text has got to. */
export function writeDynamicTable(
  file: ElfFile,
  table: DynamicTable,
  valueOf: (entry: TableEntry) => bigint,
): Uint8Array {
  const size = Dyn.size(file);
  const bytes = new Uint8Array(table.capacity * size);
  table.entries.forEach((entry, index) => {
    const value = entry.text === undefined ? (entry.value ?? 0n) : valueOf(entry);
    const moved = entry.slot === undefined ? 0 : (index - entry.slot) * size;
    // Its value is a distance from its own slot (patchelf#82).
    const adjusted = entry.tag === DT.MIPS_RLD_MAP_REL ? BigInt.asUintN(file.bits, value - BigInt(moved)) : value;
    // The tag of an old entry is taken raw: beyond 2^53 `tag` is rounded.
    const raw = entry.slot === undefined ? undefined : table.slots[entry.slot]!.tag;
    const tag = raw !== undefined && Number(raw) === entry.tag ? raw : BigInt(entry.tag);
    bytes.set(Dyn.write(file, { tag, value: adjusted }), index * size);
  });
  return bytes;
}

/** Puts `replacement` in the place of the first entry with one of `tags` and drops the others; appends it if there is none. */
export function replaceEntry(
  table: DynamicTable,
  tags: readonly number[],
  replacement: Omit<TableEntry, "slot"> | undefined,
): void {
  const at = table.entries.findIndex((entry) => tags.includes(entry.tag));
  const old = table.entries[at];
  const rest = table.entries.filter((entry, index) => index === at || !tags.includes(entry.tag));
  if (replacement === undefined) table.entries = rest.filter((entry) => entry !== old);
  else if (old === undefined) table.entries = [...rest, replacement];
  else table.entries = rest.with(rest.indexOf(old), { ...replacement, ...slotOf(old) });
}

const slotOf = ({ slot }: TableEntry): { slot?: number } => (slot === undefined ? {} : { slot });
