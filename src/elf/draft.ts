import type { ByteWrite } from "../core/bytes.ts";
import { openDynamicTable, type DynamicTable } from "./dynamic-table.ts";
import type { ElfFile } from "./file.ts";
import { openOverlay, type Overlay } from "./overlay.ts";
import { readSections } from "./sections.ts";
import { Ehdr, Phdr, Shdr } from "./structs.ts";

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
  | "headers";

const growths: readonly Growth[] = ["none", "in-place", "slack", "note", "headers"];

/** A file's headers while they are edited. Everything is laid out once and encoded at the end. */
export interface Draft {
  readonly file: ElfFile;
  readonly header: Ehdr;
  segments: Phdr[];
  readonly sections: readonly Shdr[];
  /** Absent in files without a dynamic section. */
  readonly table?: DynamicTable;
  /** Bytes other than headers. */
  readonly overlay: Overlay;
  /** Of the file afterwards, in bytes. */
  size: number;
  growth: Growth;
}

export function openDraft(file: ElfFile): Draft {
  return {
    file,
    header: { ...file.header },
    segments: file.segments.map((segment) => ({ ...segment })),
    sections: readSections(file),
    ...(file.isDynamic ? { table: openDynamicTable(file) } : {}),
    overlay: openOverlay(file.source),
    size: file.source.size,
    growth: "none",
  };
}

/** Records that a rung of the growth ladder was used. */
export function useGrowth(draft: Draft, growth: Growth): void {
  if (growths.indexOf(growth) > growths.indexOf(draft.growth)) draft.growth = growth;
}

/** Encodes the headers and gives back every byte that differs. */
export function finishDraft(draft: Draft): ByteWrite[] {
  const { file, header, overlay } = draft;
  overlay.write(0, Ehdr.write(file, header));
  const phdrSize = Phdr.size(file);
  draft.segments.forEach((segment, index) => {
    overlay.write(Number(header.phoff) + index * phdrSize, Phdr.write(file, segment));
  });
  const shdrSize = Shdr.size(file);
  draft.sections.forEach((section, index) => {
    overlay.write(Number(header.shoff) + index * shdrSize, Shdr.write(file, section));
  });
  return overlay.finish(draft.size);
}
