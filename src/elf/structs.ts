import { struct, type StructRecord } from "./layout.ts";

/**
 * The records of an ELF file, fields named as in the gABI without their prefixes (`e_`, `p_`, `sh_`, `d_`, `st_`, `vn_` ...).
 * Versions: LSB Core, "Symbol Versioning". Notes: gABI chapter 5, "Note Section".
 */

/** The header of the file. */
export const Ehdr = struct({
  ident: "ident",
  type: "u16",
  machine: "u16",
  version: "u32",
  entry: "native",
  phoff: "native",
  shoff: "native",
  flags: "u32",
  ehsize: "u16",
  phentsize: "u16",
  phnum: "u16",
  shentsize: "u16",
  shnum: "u16",
  shstrndx: "u16",
});
export type Ehdr = StructRecord<typeof Ehdr>;

/** A program header: one segment. */
export const Phdr = struct(
  {
    type: "u32",
    flags: "u32",
    offset: "native",
    vaddr: "native",
    paddr: "native",
    filesz: "native",
    memsz: "native",
    align: "native",
  },
  ["type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align"],
);
export type Phdr = StructRecord<typeof Phdr>;

/** A section header. */
export const Shdr = struct({
  name: "u32",
  type: "u32",
  flags: "native",
  addr: "native",
  offset: "native",
  size: "native",
  link: "u32",
  info: "u32",
  addralign: "native",
  entsize: "native",
});
export type Shdr = StructRecord<typeof Shdr>;

/** An entry of the dynamic table. */
export const Dyn = struct({ tag: "native", value: "native" });
export type Dyn = StructRecord<typeof Dyn>;

/** A symbol. */
export const Sym = struct({ name: "u32", info: "u8", other: "u8", shndx: "u16", value: "native", size: "native" }, [
  "name",
  "value",
  "size",
  "info",
  "other",
  "shndx",
]);
export type Sym = StructRecord<typeof Sym>;

/** A relocation whose addend stands in the place itself. */
export const Rel = struct({ offset: "native", info: "native" });
/** A relocation with its addend. */
export const Rela = struct({ offset: "native", info: "native", addend: "native" });

/** One library of which versions are needed. */
export const Verneed = struct({ version: "u16", cnt: "u16", file: "u32", aux: "u32", next: "u32" });
export type Verneed = StructRecord<typeof Verneed>;
/** One version that is needed of it. */
export const Vernaux = struct({ hash: "u32", flags: "u16", other: "u16", name: "u32", next: "u32" });
export type Vernaux = StructRecord<typeof Vernaux>;
/** One version that is defined. */
export const Verdef = struct({
  version: "u16",
  flags: "u16",
  ndx: "u16",
  cnt: "u16",
  hash: "u32",
  aux: "u32",
  next: "u32",
});
export type Verdef = StructRecord<typeof Verdef>;
/** Its name, and after that the names of its parents. */
export const Verdaux = struct({ name: "u32", next: "u32" });
export type Verdaux = StructRecord<typeof Verdaux>;
/** One entry of .gnu.version: the version index of the symbol with the same number. */
export const Versym = struct({ index: "u16" });

/** The header of a note; name and descriptor follow. */
export const Nhdr = struct({ namesz: "u32", descsz: "u32", type: "u32" });
export type Nhdr = StructRecord<typeof Nhdr>;
