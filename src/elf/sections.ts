import { readRange } from "./address.ts";
import { SHN, SHT } from "./constants.ts";
import { readSection0, type ElfFile } from "./file.ts";
import { malformed } from "./problems.ts";
import { Ehdr, Shdr } from "./structs.ts";

/** Linkers write some 40; files of `-ffunction-sections` objects reach 100,000. */
const sectionsMax = 1 << 20;

/**
 * The section headers, in table order; none when the file has no table (`sstrip`). No reading but editing
 * needs them: they tell which bytes are in use, and they are kept coherent.
 * @throws FlixwrapError `elf-malformed` when the table is not wholly in the file.
 */
export function readSections(file: ElfFile): Shdr[] {
  const { header } = file;
  if (header.shoff === 0n) return [];
  const size = Shdr.size(file);
  if (header.shentsize !== size) {
    const at = Ehdr.offsetOf(file, "shentsize");
    throw malformed(file, at, "section headers have wrong size", `${header.shentsize}`, `${size}`);
  }
  // More than 0xff00 sections: the number stands in sh_size of section 0 (gABI chapter 4, "Extended numbering").
  const count = header.shnum === 0 ? readSection0(file, file, header).size : BigInt(header.shnum);
  if (count > BigInt(sectionsMax)) throw malformed(file, header.shoff, "too many section headers", `${count}`);
  return Shdr.readAll(file, readRange(file, header.shoff, Number(count) * size, "section header table"));
}

/** The index of the section that names the sections, 0 for none. */
export function nameSectionIndex(file: ElfFile): number {
  return file.header.shstrndx === SHN.XINDEX ? readSection0(file, file, file.header).link : file.header.shstrndx;
}

/** Whether a section's bytes lie in the file. */
export const hasBytes = (section: Shdr): boolean =>
  section.type !== SHT.NOBITS && section.type !== SHT.NULL && section.size > 0n;
