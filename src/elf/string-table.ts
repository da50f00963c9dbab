import { encodeName } from "../core/names.ts";
import { locate, readRange } from "./address.ts";
import { DT, SHF, SHT } from "./constants.ts";
import type { Draft } from "./draft.ts";
import type { DynamicTable } from "./dynamic-table.ts";
import type { Block } from "./place.ts";
import { refused } from "./problems.ts";

/** The largest in the wild has 6.5 MB. */
const tableMax = 256 << 20;

/** The dynamic string table while it is edited. It stays one run of bytes: every tool but the loader wants it so. */
export interface StringTable {
  /** The offset of a string; it is added unless an old one ends with it. */
  intern(text: string): number;
  block(): Block;
}

export function openStringTable(draft: Draft, table: DynamicTable): StringTable {
  const { file } = draft;
  const address = file.dynamic.findLast((entry) => entry.tag === DT.STRTAB)?.value;
  const size = file.dynamic.findLast((entry) => entry.tag === DT.STRSZ)?.value;
  const range = address === undefined ? undefined : locate(file, address);
  if (
    address === undefined ||
    size === undefined ||
    range === undefined ||
    size > BigInt(Math.min(range.length, tableMax))
  ) {
    throw refused("elf-no-strings", file, "the dynamic string table is not where the dynamic section says");
  }
  const current = { offset: range.offset, length: Number(size) };
  let bytes = Buffer.from(readRange(file, current.offset, current.length, "dynamic string table"));
  if (bytes.at(-1) !== 0) throw refused("elf-no-strings", file, "the dynamic string table has no end");
  const section = draft.sections.find(
    (one) => one.type === SHT.STRTAB && (one.flags & SHF.ALLOC) !== 0n && one.addr === address,
  );
  return {
    intern(text) {
      const wanted = Buffer.concat([encodeName(text), Buffer.alloc(1)]);
      const found = bytes.indexOf(wanted);
      if (found >= 0) return found;
      const at = bytes.length;
      bytes = Buffer.concat([bytes, wanted]);
      return at;
    },
    block: () => ({
      current,
      bytes,
      moveTo(offset, newAddress) {
        table.entries = table.entries.map((entry) => {
          if (entry.tag === DT.STRTAB) return { ...entry, value: newAddress };
          return entry.tag === DT.STRSZ ? { ...entry, value: BigInt(bytes.length) } : entry;
        });
        if (section === undefined) return;
        section.offset = BigInt(offset);
        section.addr = newAddress;
        section.size = BigInt(bytes.length);
      },
    }),
  };
}
