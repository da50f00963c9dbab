import { readMapped } from "../elf/address.ts";
import { DT, EM, VER_NDX } from "../elf/constants.ts";
import { type ElfFile, lastValue, openDynamicStrings } from "../elf/file.ts";
import { Rel, Rela, Sym } from "../elf/structs.ts";
import { countSymbols, readVersionIndices } from "../elf/symbols.ts";

/** A symbol that the loader looks up by name. */
export interface Reference {
  readonly name: string;
  /** STB_*. */
  readonly binding: number;
  /** The index into the version tables; 0 and 1 are no version. */
  readonly version: number;
  /** Of a copy relocation: the object has room for it, and the loader fills that from another object's. */
  readonly elsewhere: boolean;
}

/** R_*_COPY of each machine's psABI, as glibc's elf.h has them. */
const copyRelocations: Readonly<Record<number, number>> = {
  3: 5,
  20: 19,
  21: 19,
  22: 9,
  40: 20,
  43: 19,
  62: 5,
  183: 1024,
  243: 4,
  258: 4,
};

/**
 * The undefined symbols that relocations name: those and no others are looked up. (The symbol table itself says less:
 * without an exported symbol no tag tells its length.)
 */
export function readReferences(elf: ElfFile): Reference[] {
  const table = lastValue(elf, DT.SYMTAB);
  const { indices, copied } = referencedIndices(elf);
  if (table === undefined || indices.length === 0) return [];
  const count = indices.reduce((most, index) => Math.max(most, index), 0) + 1;
  const symbols = readMapped(elf, table, count * Sym.size(elf), "dynamic symbols");
  const versions = readVersionIndices(elf, count);
  const readName = openDynamicStrings(elf);
  return indices.flatMap((index) => {
    const symbol = Sym.read(elf, symbols, index * Sym.size(elf));
    const elsewhere = copied.has(index);
    if (symbol.shndx !== 0 && !elsewhere) return [];
    const version = (versions?.[index] ?? VER_NDX.GLOBAL) & 0x7fff;
    return [{ name: readName(symbol.name), binding: symbol.info >> 4, version, elsewhere }];
  });
}

/** Symbol table indices in DT_RELA, DT_REL and DT_JMPREL, each once, ascending; 0 (no symbol) is none. */
function referencedIndices(elf: ElfFile): {
  readonly indices: readonly number[];
  readonly copied: ReadonlySet<number>;
} {
  // A MIPS object binds the global part of its GOT without relocations (MIPS psABI, chapter 5): every symbol counts.
  if (elf.machine === EM.MIPS) {
    return { indices: Array.from({ length: countSymbols(elf) }, (_, index) => index).slice(1), copied: new Set() };
  }
  const found = new Set<number>();
  const copied = new Set<number>();
  const copy = copyRelocations[elf.machine];
  for (const { struct, address, size } of [
    { struct: Rela, address: lastValue(elf, DT.RELA), size: lastValue(elf, DT.RELASZ) },
    { struct: Rel, address: lastValue(elf, DT.REL), size: lastValue(elf, DT.RELSZ) },
    {
      struct: lastValue(elf, DT.PLTREL) === BigInt(DT.REL) ? Rel : Rela,
      address: lastValue(elf, DT.JMPREL),
      size: lastValue(elf, DT.PLTRELSZ),
    },
  ]) {
    if (address === undefined || size === undefined || size === 0n) continue;
    const bytes = readMapped(elf, address, size, "relocations");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = elf.endian === "little";
    // The index is r_info >> 32 and the type below it, or r_info >> 8 in 32 bits; a large object has a million of them.
    const info = struct.offsetOf(elf, "info");
    const [high, low] = elf.bits === 32 ? [info, info] : little ? [info + 4, info] : [info, info + 4];
    for (let at = 0; at + struct.size(elf) <= bytes.length; at += struct.size(elf)) {
      const word = view.getUint32(at + high, little);
      const index = elf.bits === 64 ? word : word >>> 8;
      found.add(index);
      if ((elf.bits === 64 ? view.getUint32(at + low, little) : word & 0xff) === copy) copied.add(index);
    }
  }
  found.delete(0);
  return { indices: [...found].toSorted((a, b) => a - b), copied };
}
