import type { ByteWrite } from "../core/bytes.ts";
import { defined } from "../core/defined.ts";
import type { FileRange } from "./address.ts";
import { DT, PT, SHT } from "./constants.ts";
import { openDynamicTable, writeDynamicTable, type DynamicTable } from "./dynamic-table.ts";
import { lastValue, type ElfFile } from "./file.ts";
import type { Fields, RecordOf, Struct } from "./layout.ts";
import { openOverlay, type Overlay } from "./overlay.ts";
import { refused } from "./problems.ts";
import { moveSectionSymbols } from "./section-symbols.ts";
import { readSections } from "./sections.ts";
import { Ehdr, Phdr, Shdr, Sym } from "./structs.ts";
import { countSymbols } from "./symbols.ts";
import { openStrings, type StringTable } from "./strings.ts";

/** How the file had to change, from cheapest to dearest; a patch tells the dearest that was needed. */
export type Growth =
  /** No byte differs. */
  | "none"
  /** Bytes differ, no segment grew. */
  | "in-place"
  /** A read-only segment took unused bytes behind its end. */
  | "slack"
  /** A PT_NOTE became a PT_LOAD at the end of the file. */
  | "note"
  /** The program header table got another entry. */
  | "headers"
  /** The program header table moved to the end of the file, if `padding` allows it. */
  | "table";

const growths: readonly Growth[] = ["none", "in-place", "slack", "note", "headers", "table"];

/** What may be done to make room. */
export interface GrowthLimits {
  /**
   * Bytes behind the ELF file (AppImage, bun, self-extractors): refuse to grow such a file, or move them along so that they
   * stay at its end.
   */
  readonly payload: "refuse" | "move";
  /**
   * The most padding, in bytes, that moving the program header table may cost. 0, the default: it does not move, because GNU strip
   * (2.40) silently breaks files whose table is not at their beginning.
   */
  readonly padding: number;
  /** The smallest alignment of an added segment, in bytes. */
  readonly pageSize: number;
  /** Leave the bytes of what moves where they were, for programs that read their own file by section. */
  readonly keepOld: boolean;
}

/** A file's headers while they are edited. Everything is laid out once and encoded at the end. */
export interface Draft {
  readonly file: ElfFile;
  readonly limits: GrowthLimits;
  readonly header: Ehdr;
  segments: Phdr[];
  readonly sections: readonly Shdr[];
  /** As they are in the file. */
  readonly oldSections: readonly Readonly<Shdr>[];
  /** Absent in files without a dynamic section. */
  readonly table?: DynamicTable;
  /** The dynamic string table; opened by the first edit that needs it. */
  strings(): StringTable;
  hasStrings(): boolean;
  /** Dynamic symbols, the null symbol included: by the section of the symbol table, else by the hash tables. */
  symbolCount(): number;
  /** Whether a range is at the very end of a PT_LOAD, or only the interpreter follows: where earlier edits put it. */
  isTail(range: FileRange): boolean;
  /** Bytes other than headers. */
  readonly overlay: Overlay;
  /** Of the file afterwards, in bytes. */
  size: number;
  growth: Growth;
}

/** A draft without any change yet. */
export function openDraft(file: ElfFile, limits: GrowthLimits): Draft {
  const table = openDynamicTable(file);
  const oldSections = readSections(file);
  let strings: StringTable | undefined;
  let symbols: number | undefined;
  const draft: Draft = {
    file,
    limits,
    header: { ...file.header, ident: file.header.ident.slice() },
    segments: file.segments.map((segment) => ({ ...segment })),
    sections: oldSections.map((section) => ({ ...section })),
    oldSections,
    ...defined({ table }),
    strings: () => (strings ??= openStrings(draft)),
    hasStrings: () => strings !== undefined,
    symbolCount: () => (symbols ??= countAll(file, oldSections)),
    isTail: ({ offset, length }) => isTail(file, BigInt(offset + length)),
    overlay: openOverlay(file.source),
    size: file.source.size,
    growth: "none",
  };
  return draft;
}

/** `strip --remove-section=.gnu.hash` leaves DT_GNU_HASH behind, so a section counts for more here. */
function countAll(file: ElfFile, sections: readonly Shdr[]): number {
  const address = lastValue(file, DT.SYMTAB);
  if (address === undefined) return 0;
  const section = sections.find((one) => one.type === SHT.DYNSYM && one.addr === address);
  return section === undefined ? countSymbols(file) : Math.floor(Number(section.size) / Sym.size(file));
}

/** Whether a tag leads to a table: not, if there are sections and none begins there. */
export function hasTable(draft: Draft, tag: number): boolean {
  const address = lastValue(draft.file, tag);
  return (
    address !== undefined && (draft.sections.length === 0 || draft.oldSections.some((one) => one.addr === address))
  );
}

function isTail(file: ElfFile, end: bigint): boolean {
  const interpreter = file.segments.find((one) => one.type === PT.INTERP && one.offset === end);
  return file.segments.some(
    (one) =>
      one.type === PT.LOAD && [end, end + (interpreter?.filesz ?? 0n)].some((at) => one.offset + one.filesz === at),
  );
}

/** The dynamic table of a file that must have one. */
export function tableOf(draft: Draft): DynamicTable {
  if (draft.table === undefined) throw refused("elf-not-dynamic", draft.file, "no dynamic section");
  return draft.table;
}

/** Records that a rung of the growth ladder was used. */
export function useGrowth(draft: Draft, growth: Growth): void {
  if (growths.indexOf(growth) > growths.indexOf(draft.growth)) draft.growth = growth;
}

/** No ELF string holds a NUL. */
export function refuseNul(file: ElfFile, text: string, what: string): void {
  if (text.includes("\0")) throw refused("elf-value", file, `${what} holds a NUL byte`);
}

/** Encodes the headers that have changed and gives back every byte that differs. */
export function finishDraft(draft: Draft): ByteWrite[] {
  const { file, header, overlay } = draft;
  overlay.write(0, Ehdr.write(file, header));
  writeRecords(draft, Phdr, draft.segments, file.segments, header.phoff, file.header.phoff);
  moveSectionSymbols(draft);
  writeRecords(draft, Shdr, draft.sections, draft.oldSections, header.shoff, file.header.shoff);
  if (draft.table !== undefined) overlay.write(file.dynamicRange!.offset, writeDynamicTable(file, draft.table));
  return overlay.finish(draft.size);
}

/** One header table. What is where it was, as it was, needs no writing. */
function writeRecords<F extends Fields>(
  { file, overlay }: Draft,
  type: Struct<F>,
  records: readonly RecordOf<F>[],
  before: readonly Readonly<RecordOf<F>>[],
  start: bigint,
  oldStart: bigint,
): void {
  const size = type.size(file);
  records.forEach((record, index) => {
    const old = before[index];
    if (start === oldStart && old !== undefined && type.isSame(record, old)) return;
    overlay.write(Number(start) + index * size, type.write(file, record));
  });
}
