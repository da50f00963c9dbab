import { encodeName } from "../core/names.ts";
import { locate, readRange } from "./address.ts";
import { DT, SHF, SHT, stringTags } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { setValue } from "./dynamic-table.ts";
import type { ElfFile } from "./file.ts";
import type { Block } from "./place.ts";
import { hex, refused } from "./problems.ts";
import { collectReferences } from "./references.ts";

/** The largest in the wild has 6.5 MB. */
const tableMax = 256 << 20;

/**
 * The dynamic string table while it is edited. It stays one run of bytes: the loader would take strings from anywhere, but every
 * other tool wants a table. A string that anything else refers to, or might, is never overwritten.
 */
export interface StringTable {
  /** One reference to the string at `offset` is gone. */
  drop(offset: number | bigint): void;
  /** Asks for a string; {@link settle} calls `assign` with its offset. `old` is the offset of the string that it replaces. */
  request(text: string, assign: (offset: number) => void, old?: number | bigint): void;
  /** Gives every wanted string its place in the table. */
  settle(): void;
  /** The settled table, to be placed in the file. */
  block(): Block;
}

interface Request {
  readonly bytes: Buffer;
  readonly old: number | undefined;
  readonly assign: (offset: number) => void;
}

/**
 * Opens the table for editing.
 * @throws FlixwrapError `elf-no-strings` when it is not where the dynamic section says, or not all of the strings.
 */
export function openStrings(draft: Draft): StringTable {
  const { address, current, before } = readTable(draft.file);
  let bytes: Buffer = Buffer.from(before.buffer, before.byteOffset, before.length);
  let isShared = true;
  const section = draft.sections.findIndex(
    (one) => one.type === SHT.STRTAB && (one.flags & SHF.ALLOC) !== 0n && one.addr === address,
  );
  const requests: Request[] = [];
  const dropped: number[] = [];

  return {
    drop: (offset) => void dropped.push(Number(offset)),
    request(text, assign, old) {
      requests.push({
        bytes: Buffer.concat([encodeName(text), Buffer.alloc(1)]),
        assign,
        old: old === undefined ? undefined : Number(old),
      });
    },
    settle() {
      if (requests.length === 0 && dropped.length === 0) return;
      const references = collectReferences(draft, section, bytes.length);
      for (const offset of dropped) references?.remove(offset);
      const find = openSearch(bytes, requests.length);
      const added = new Map<string, number>();
      const pieces: Buffer[] = [];
      let end = bytes.length;
      let trimmed = false;
      for (const { bytes: wanted, old, assign } of requests) {
        const key = wanted.toString("latin1");
        let offset = added.get(key) ?? find(wanted, key);
        // What was cut off or overwritten meanwhile is no longer there.
        if (offset >= 0 && !added.has(key) && !holds(bytes, offset, wanted)) offset = -1;
        if (offset < 0 && old !== undefined && wanted.length <= (references?.roomAt(bytes, old) ?? 0)) {
          offset = old;
          if (isShared) bytes = Buffer.from(bytes);
          isShared = false;
          bytes.fill(0, offset, bytes.indexOf(0, offset));
          wanted.copy(bytes, offset);
        }
        if (offset < 0) {
          if (!trimmed && references !== undefined) bytes = bytes.subarray(0, references.end(bytes));
          if (!trimmed) end = bytes.length;
          trimmed = true;
          offset = end;
          pieces.push(wanted);
          end += wanted.length;
          added.set(key, offset);
        }
        references?.add(offset);
        assign(offset);
      }
      // A table that was moved before goes back when it has become small enough.
      if (!trimmed && references !== undefined && draft.isTail(current))
        bytes = bytes.subarray(0, references.end(bytes));
      if (pieces.length > 0) bytes = Buffer.concat([bytes, ...pieces]);
    },
    block: () => ({
      current,
      bytes,
      staysBehind: false,
      moveTo(offset, newAddress) {
        setValue(draft.table!, DT.STRTAB, newAddress);
        setValue(draft.table!, DT.STRSZ, BigInt(bytes.length));
        const header = draft.sections[section];
        if (header === undefined) return;
        header.offset = BigInt(offset);
        header.addr = newAddress;
        header.size = BigInt(bytes.length);
      },
    }),
  };
}

interface CurrentTable {
  readonly address: bigint;
  /** Its place in the file. */
  readonly current: { readonly offset: number; readonly length: number };
  readonly before: Uint8Array;
}

function readTable(file: ElfFile): CurrentTable {
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
  const before = readRange(file, current.offset, current.length, "dynamic string table");
  if (before.at(-1) !== 0) throw refused("elf-no-strings", file, "the dynamic string table is not NUL-terminated");
  // The loader would read it, but it would stay behind if the table moved.
  const outside = file.dynamic.find(({ tag, value }) => stringTags.has(tag) && value >= size);
  if (outside !== undefined) {
    const got = `string offset ${hex(outside.value)}`;
    throw refused("elf-no-strings", file, "a string lies behind the dynamic string table", { got });
  }
  return { address, current, before };
}

const holds = (table: Buffer, offset: number, wanted: Buffer): boolean =>
  offset + wanted.length <= table.length &&
  table.compare(wanted, 0, wanted.length, offset, offset + wanted.length) === 0;

/**
 * A few strings are searched for in the whole table, which also finds one that is the end of a longer one; for many an
 * index is faster.
 */
function openSearch(table: Buffer, wanted: number): (bytes: Buffer, key: string) => number {
  if (wanted < 64) return (bytes) => table.indexOf(bytes);
  const index = new Map<string, number>();
  for (let at = 0; at < table.length;) {
    const end = table.indexOf(0, at) + 1;
    index.set(table.toString("latin1", at, end), at);
    at = end;
  }
  return (_, key) => index.get(key) ?? -1;
}
