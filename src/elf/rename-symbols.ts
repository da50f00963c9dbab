import { locate, readMapped } from "./address.ts";
import { DT, EM } from "./constants.ts";
import { hasTable, type Draft } from "./draft.ts";
import { lastValue, openDynamicStrings, type ElfFile } from "./file.ts";
import { rebuildGnuHash, rebuildHash } from "./hash-tables.ts";
import { malformed, refused } from "./problems.ts";
import { Rel, Rela, Sym } from "./structs.ts";
import { gnuHash, openGnuHash } from "./symbols.ts";

/**
 * Renames dynamic symbols. DT_GNU_HASH wants its symbols sorted by bucket, so new names change their order, and with it versions and
 * relocations; all tables keep their places and sizes. The static symbol table keeps the old names.
 */
export function renameSymbols(draft: Draft, names: ReadonlyMap<string, string> | undefined): string[] {
  const { file } = draft;
  const table = lastValue(file, DT.SYMTAB);
  if (names === undefined || names.size === 0 || table === undefined) return [];
  const count = draft.symbolCount();
  const symbols = Sym.readAll(file, readMapped(file, table, count * Sym.size(file), "dynamic symbols"));
  const nameAt = openDynamicStrings(file);
  const before = symbols.map((symbol) => nameAt(symbol.name));
  const after = before.map((name, index) => (index === 0 ? name : (names.get(name) ?? name)));
  const changed = [...symbols.keys()].filter((index) => before[index] !== after[index]);
  if (changed.length === 0) return [];
  const order = sortByBucket(draft, after);
  reorder(draft, table, Sym.size(file), order);
  const versions = lastValue(file, DT.VERSYM);
  if (versions !== undefined) reorder(draft, versions, 2, order);
  changeRelocations(draft, order);
  rebuildGnuHash(
    draft,
    order.map((index) => after[index]!),
  );
  rebuildHash(draft, order, after);
  const start = offsetOf(file, table);
  const places = inverse(order);
  for (const index of changed) {
    const { name } = symbols[index]!;
    const at = start + places[index]! * Sym.size(file);
    draft.strings().drop(name);
    draft.strings().request(after[index]!, (offset) => draft.overlay.write(at, writeWord(file, offset)), name);
  }
  return changed.map((index) => `symbol ${before[index]} -> ${after[index]}`);
}

/** The old index of the symbol at each new place. */
function sortByBucket(draft: Draft, names: readonly string[]): number[] {
  const order = [...names.keys()];
  const hash = hasTable(draft, DT.GNU_HASH) ? openGnuHash(draft.file) : undefined;
  if (hash === undefined || hash.buckets === 0 || hash.firstSymbol >= names.length) return order;
  const buckets = names.map((name) => gnuHash(name) % hash.buckets);
  const hashed = order.slice(hash.firstSymbol).sort((a, b) => buckets[a]! - buckets[b]! || a - b);
  return [...order.slice(0, hash.firstSymbol), ...hashed];
}

function inverse(order: readonly number[]): number[] {
  const places: number[] = Array.from({ length: order.length });
  order.forEach((old, index) => (places[old] = index));
  return places;
}

/** Rewrites a table with one record per symbol. */
function reorder(draft: Draft, table: bigint, size: number, order: readonly number[]): void {
  const { file } = draft;
  const bytes = readMapped(file, table, order.length * size, "a table of dynamic symbols");
  const sorted = new Uint8Array(bytes.length);
  order.forEach((old, index) => sorted.set(bytes.subarray(old * size, (old + 1) * size), index * size));
  draft.overlay.write(offsetOf(file, table), sorted);
}

/** Relocations name symbols by index: r_info's upper 32 bits in ELF64, its upper 24 in ELF32. */
function changeRelocations(draft: Draft, order: readonly number[]): void {
  const { file } = draft;
  if (order.every((old, index) => old === index)) return;
  const strange = [DT.ANDROID_REL, DT.ANDROID_RELA, DT.GNU_CONFLICT, DT.SYMTAB_SHNDX, DT.MIPS_XHASH];
  if (file.machine === EM.MIPS || strange.some((tag) => lastValue(file, tag) !== undefined)) {
    throw refused("elf-symbols", file, "dynamic symbols of this file cannot be put into another order");
  }
  const places = inverse(order);
  const shift = file.bits === 64 ? 32n : 8n;
  for (const { address, size, layout } of relocationTables(file)) {
    const bytes = readMapped(file, address, size, "relocations");
    const infoAt = layout.offsetOf(file, "info");
    const step = layout.size(file);
    const changed = bytes.slice();
    for (let at = 0; at + step <= bytes.length; at += step) {
      const record = Rel.read(file, bytes, at);
      const symbol = Number(record.info >> shift);
      if (symbol >= places.length) throw malformed(file, offsetOf(file, address) + at, "relocation names no symbol");
      const info = (BigInt(places[symbol]!) << shift) | (record.info & ((1n << shift) - 1n));
      changed.set(Rel.write(file, { offset: record.offset, info }).subarray(infoAt), at + infoAt);
    }
    draft.overlay.write(offsetOf(file, address), changed);
  }
}

interface RelocationTable {
  readonly address: bigint;
  readonly size: number;
  readonly layout: typeof Rel | typeof Rela;
}

/** DT_REL, DT_RELA and DT_JMPREL; the last may be a part of one of the others. */
function relocationTables(file: ElfFile): RelocationTable[] {
  const plt = lastValue(file, DT.PLTREL) === BigInt(DT.RELA) ? Rela : Rel;
  const tables = [
    { start: DT.REL, bytes: DT.RELSZ, layout: Rel },
    { start: DT.RELA, bytes: DT.RELASZ, layout: Rela },
    { start: DT.JMPREL, bytes: DT.PLTRELSZ, layout: plt },
  ].flatMap(({ start, bytes, layout }) => {
    const address = lastValue(file, start);
    const size = Number(lastValue(file, bytes) ?? 0n);
    return address === undefined || size === 0 ? [] : [{ address, size, layout }];
  });
  const isPart = (one: RelocationTable) =>
    tables.some(
      (other) =>
        other !== one &&
        other.address <= one.address &&
        one.address + BigInt(one.size) <= other.address + BigInt(other.size),
    );
  return tables.filter((one) => !isPart(one));
}

function offsetOf(file: ElfFile, address: bigint): number {
  const range = locate(file, address);
  if (range === undefined) throw malformed(file, 0, "a table of dynamic symbols is not in the file");
  return range.offset;
}

function writeWord(file: ElfFile, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, file.endian === "little");
  return bytes;
}
