import { readMapped } from "./address.ts";
import { DT, EM } from "./constants.ts";
import { type ElfFile, lastValue } from "./file.ts";
import { Rel, Rela } from "./structs.ts";
import { countSymbols } from "./symbols.ts";

/** Symbol table indices; 0 (no symbol) is none of them. */
export interface RelocatedSymbols {
  readonly all: ReadonlySet<number>;
  /** Of copy relocations: the object has room for the data, and the loader fills that from another object's. */
  readonly copied: ReadonlySet<number>;
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

/** The symbols in DT_RELA, DT_REL and DT_JMPREL: those and no others does the loader look up by name. */
export function readRelocatedSymbols(elf: ElfFile): RelocatedSymbols {
  // A MIPS object binds the global part of its GOT without relocations (MIPS psABI, chapter 5): every symbol counts.
  if (elf.machine === EM.MIPS) {
    return { all: new Set(Array.from({ length: countSymbols(elf) }, (_, index) => index).slice(1)), copied: new Set() };
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
  return { all: found, copied };
}
