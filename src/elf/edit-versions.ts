import { locate, readMapped } from "./address.ts";
import { DT, SHT, VER_NDX } from "./constants.ts";
import { tableOf, type Draft } from "./draft.ts";
import { lastEntry, setValue } from "./dynamic-table.ts";
import { lastValue, openDynamicStrings, readDynamicString } from "./file.ts";
import { malformed, refused } from "./problems.ts";
import { Sym, Vernaux, Verneed, Versym } from "./structs.ts";
import { readVersionIndices } from "./symbols.ts";
import { walkNeeded } from "./versions.ts";

/** Version records follow the library names they belong to: glibc asserts that each is loaded (elf/dl-version.c). */

/** The requirements of a renamed library are asked of its new name. */
export function renameNeededVersions(draft: Draft, names: ReadonlyMap<string, string>): void {
  if (names.size === 0) return;
  const { file } = draft;
  const table = tableOffset(draft);
  for (const { at, record } of walkNeeded(file)) {
    const to = names.get(readDynamicString(file, record.file));
    if (to === undefined) continue;
    draft.strings().drop(record.file);
    const assign = (offset: number) =>
      draft.overlay.write(table + at, Verneed.write(file, { ...record, file: offset }));
    draft.strings().request(to, assign, record.file);
  }
}

/** The requirements of libraries that are needed no longer are dropped, and their symbols bind without a version. */
export function dropNeededVersions(draft: Draft, names: ReadonlySet<string>): void {
  const { file } = draft;
  const records = names.size === 0 ? [] : walkNeeded(file);
  const gone = records.filter(({ record }) => names.has(readDynamicString(file, record.file)));
  if (gone.length === 0) return;
  const kept = records.filter((one) => !gone.includes(one));
  const [outer, inner] = [Verneed.size(file), Vernaux.size(file)];
  const end = Math.max(
    ...records.map((one) => one.at + outer),
    ...records.flatMap(({ auxiliaries }) => auxiliaries.map((one) => one.at + inner)),
  );
  const bytes = new Uint8Array(end);
  let at = 0;
  for (const [index, { record, auxiliaries }] of kept.entries()) {
    const size = outer + auxiliaries.length * inner;
    if (at + size > bytes.length) throw refused("elf-versions", file, "symbol version records overlap");
    const next = index === kept.length - 1 ? 0 : size;
    bytes.set(Verneed.write(file, { ...record, cnt: auxiliaries.length, aux: outer, next }), at);
    auxiliaries.forEach((one, position) => {
      const last = position === auxiliaries.length - 1;
      bytes.set(Vernaux.write(file, { ...one, next: last ? 0 : inner }), at + outer + position * inner);
    });
    at += size;
  }
  const table = tableOf(draft);
  for (const { record, auxiliaries } of gone) {
    draft.strings().drop(record.file);
    for (const { name } of auxiliaries) draft.strings().drop(name);
  }
  draft.overlay.write(tableOffset(draft), bytes);
  setValue(table, DT.VERNEEDNUM, BigInt(kept.length));
  const address = lastEntry(table, DT.VERNEED)?.value;
  if (kept.length === 0) {
    // With DT_VERSYM but neither table glibc reads versions that it has not made (elf/do-rel.h).
    const alone = lastEntry(table, DT.VERDEF) === undefined;
    const tags: readonly number[] = [DT.VERNEED, DT.VERNEEDNUM, ...(alone ? [DT.VERSYM] : [])];
    table.entries = table.entries.filter(({ tag }) => !tags.includes(tag));
  }
  for (const section of draft.sections) {
    if (section.type !== SHT.GNU_VERNEED || section.addr !== address) continue;
    section.info = kept.length;
    section.size = BigInt(at);
  }
  const indices = new Set(gone.flatMap(({ auxiliaries }) => auxiliaries.map(({ other }) => other & 0x7fff)));
  setVersions(draft, (index) => (indices.has(index & 0x7fff) ? VER_NDX.GLOBAL : index));
}

/** The named symbols bind whatever their version. */
export function clearSymbolVersions(draft: Draft, names: readonly string[] | undefined): string[] {
  if (names === undefined || names.length === 0) return [];
  const { file } = draft;
  const table = lastValue(file, DT.SYMTAB);
  if (table === undefined || lastValue(file, DT.VERSYM) === undefined) return [];
  const count = draft.symbolCount();
  const symbols = Sym.readAll(file, readMapped(file, table, count * Sym.size(file), "dynamic symbols"));
  const nameAt = openDynamicStrings(file);
  const cleared = new Set<string>();
  setVersions(draft, (index, symbol) => {
    const name = nameAt(symbols[symbol]!.name);
    if (symbol === 0 || !names.includes(name) || index === VER_NDX.GLOBAL) return index;
    cleared.add(name);
    return VER_NDX.GLOBAL;
  });
  return [...cleared].map((name) => `version of ${name} removed`);
}

function setVersions(draft: Draft, change: (index: number, symbol: number) => number): void {
  const { file } = draft;
  const address = lastValue(file, DT.VERSYM);
  const indices = readVersionIndices(file, draft.symbolCount());
  const range = address === undefined ? undefined : locate(file, address);
  if (indices === undefined || range === undefined) return;
  indices.forEach((index, symbol) => {
    const wanted = change(index, symbol);
    if (wanted !== index) draft.overlay.write(range.offset + symbol * 2, Versym.write(file, { index: wanted }));
  });
}

function tableOffset(draft: Draft): number {
  const address = lastValue(draft.file, DT.VERNEED);
  const range = address === undefined ? undefined : locate(draft.file, address);
  if (range === undefined && address !== undefined)
    throw malformed(draft.file, 0, "symbol versions are not in the file");
  return range?.offset ?? 0;
}
