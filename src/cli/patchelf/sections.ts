import { FlixwrapError } from "../../core/errors.ts";
import { readSections, SHN, SHT, type ElfFile } from "../../elf/index.ts";

/**
 * What patchelf says about section headers that make no sense. Our engine goes by program headers and would edit
 * some of these files; scripts that expect patchelf's refusal get it, in its words.
 */
export function checkSections(elf: ElfFile, warn: (warning: string) => void): void {
  const sections = readSections(elf);
  if (sections.length === 0) return;
  const refuse = (what: string) => new FlixwrapError("elf-sections", { what, where: elf.name });
  const { shstrndx } = elf.header;
  const index = shstrndx === SHN.XINDEX ? sections[0]!.link : shstrndx;
  const names = sections[index];
  if (names === undefined || (index === 0 && shstrndx !== SHN.UNDEF)) throw refuse("string table index out of bounds");
  if (names.offset > BigInt(elf.source.size)) throw refuse("data offset extends past file end");
  if (names.offset + names.size > BigInt(elf.source.size)) throw refuse("data region extends past file end");
  if (names.size === 0n) throw refuse("string table size is zero");
  const text = elf.source.read(Number(names.offset), Number(names.size));
  if (text.at(-1) !== 0) throw refuse("string table is not zero terminated");
  for (const [number, section] of sections.entries()) {
    if (section.name >= text.length) throw refuse("section name offset out of bounds");
    if (number > 0 && section.type !== SHT.NULL && text[section.name] === 0) {
      warn(`${elf.name}: section header ${number} refers to an unnamed section`);
    }
  }
  const dynamic = sections.find(({ type }) => type === SHT.DYNAMIC);
  if (dynamic === undefined) return;
  if (dynamic.offset > BigInt(elf.source.size)) throw refuse("data offset extends past file end");
  if (dynamic.offset % BigInt(elf.bits / 8) !== 0n) throw refuse("section content is not naturally aligned");
  const strings = sections[dynamic.link];
  if (dynamic.link === 0 || strings?.type !== SHT.STRTAB || strings.size === 0n) return;
  if (elf.source.read(Number(strings.offset + strings.size) - 1, 1)[0] !== 0) {
    throw refuse("string table is not NUL-terminated");
  }
}
