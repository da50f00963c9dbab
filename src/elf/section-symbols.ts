import { readRange } from "./address.ts";
import { SHT } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { Sym } from "./structs.ts";

/** Section symbols come first among the local ones; a table of files and functions goes on for megabytes. */
const searched = 1 << 14;
const sttSection = 3;

/** The symbols that stand for sections follow the sections that have moved (STT_SECTION, gABI chapter 4). */
export function moveSectionSymbols(draft: Draft): void {
  const { file, sections, oldSections, overlay } = draft;
  const moved = new Set([...sections.keys()].filter((index) => sections[index]!.addr !== oldSections[index]!.addr));
  const index = sections.findIndex((one) => one.type === SHT.SYMTAB);
  const table = oldSections[index];
  if (table === undefined || moved.size === 0) return;
  const size = Sym.size(file);
  const count = Math.min(table.info, Math.floor(Number(table.size) / size), searched);
  const symbols = Sym.readAll(file, readRange(file, table.offset, count * size, "symbol table"));
  const start = Number(sections[index]!.offset);
  for (const [position, symbol] of symbols.entries()) {
    if ((symbol.info & 15) !== sttSection || !moved.has(symbol.shndx)) continue;
    overlay.write(start + position * size, Sym.write(file, { ...symbol, value: sections[symbol.shndx]!.addr }));
  }
}
