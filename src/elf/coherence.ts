import { locate } from "./address.ts";
import { DT, PT } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { lastValue } from "./file.ts";
import { hex, refused } from "./problems.ts";
import { Ehdr, Phdr, Shdr, Sym } from "./structs.ts";

/** Files that contradict themselves may be read, but an edit of one of their tables would damage another: those are refused. */
export function refuseIncoherent(draft: Draft): void {
  refuseUnloadable(draft);
  const tables = tablesOf(draft)
    .filter(({ size }) => size > 0)
    .sort((a, b) => a.start - b.start);
  tables.forEach((table, index) => {
    const before = tables[index - 1];
    if (before === undefined || before.start + before.size <= table.start) return;
    throw refused("elf-overlap", draft.file, `${table.what} overlaps ${before.what}`, {
      got: `byte ${hex(table.start)}`,
    });
  });
}

/** What no kernel and no loader would map (fs/binfmt_elf.c, glibc elf/dl-load.c). */
function refuseUnloadable({ file }: Draft): void {
  const size = file.segments.length * Phdr.size(file);
  if (size > 65_536) {
    throw refused("elf-not-loadable", file, "too many program headers for any loader", { got: `${size} bytes` });
  }
  const top = 1n << BigInt(file.bits);
  for (const { type, offset, vaddr, filesz, memsz } of file.segments) {
    if (type !== PT.LOAD) continue;
    if (filesz <= memsz && offset + filesz <= BigInt(file.source.size) && vaddr + memsz <= top) continue;
    throw refused("elf-not-loadable", file, "a segment does not lie in file and memory", {
      got: `${filesz} bytes from byte ${hex(offset)} on to address ${hex(vaddr)}`,
    });
  }
}

interface Table {
  readonly what: string;
  readonly start: number;
  readonly size: number;
}

/** Whatever an edit may write to. */
function tablesOf(draft: Draft): Table[] {
  const { file, sections } = draft;
  const mapped = (what: string, tag: number, size: number): Table[] => {
    const address = lastValue(file, tag);
    const range = address === undefined ? undefined : locate(file, address);
    return range === undefined ? [] : [{ what, start: range.offset, size }];
  };
  const symbols = draft.symbolCount();
  return [
    { what: "the ELF header", start: 0, size: Ehdr.size(file) },
    {
      what: "the program header table",
      start: Number(file.header.phoff),
      size: file.segments.length * Phdr.size(file),
    },
    { what: "the section header table", start: Number(file.header.shoff), size: sections.length * Shdr.size(file) },
    ...(file.dynamicRange === undefined
      ? []
      : [{ what: "the dynamic section", start: file.dynamicRange.offset, size: file.dynamicRange.length }]),
    ...file.segments
      .filter(({ type }) => type === PT.INTERP)
      .slice(0, 1)
      .map(({ offset, filesz }) => ({ what: "the interpreter", start: Number(offset), size: Number(filesz) })),
    ...mapped("the dynamic string table", DT.STRTAB, Number(lastValue(file, DT.STRSZ) ?? 0n)),
    ...mapped("the dynamic symbol table", DT.SYMTAB, symbols * Sym.size(file)),
    ...mapped("the table of symbol versions", DT.VERSYM, symbols * 2),
  ];
}
