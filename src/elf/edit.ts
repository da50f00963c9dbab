import type { ByteWrite } from "../core/bytes.ts";
import { encodeName } from "../core/names.ts";
import { readRange } from "./address.ts";
import { DF_1, DT, PT } from "./constants.ts";
import { finishDraft, openDraft, useGrowth, type Draft, type Growth } from "./draft.ts";
import { fitEntries, replaceEntry, writeDynamicTable } from "./dynamic-table.ts";
import type { ElfFile } from "./file.ts";
import { placeBlocks, type Block } from "./place.ts";
import { refused } from "./problems.ts";
import { openStringTable } from "./string-table.ts";

export type { Growth } from "./draft.ts";

/** What shall be different. What is absent stays. */
export interface ElfEdits {
  readonly interpreter?: string;
  /** The one run path the file has afterwards, as DT_RPATH or as DT_RUNPATH; null for none. */
  readonly runPath?: { readonly kind: "rpath" | "runpath"; readonly value: string } | null;
  /** DF_1_NODEFLIB: glibc's loader leaves out its compiled-in directories for this object's needs. */
  readonly noDefaultLib?: boolean;
}

/** An edit as data: a copy of the file with these writes and cut to this size is the edited file. */
export interface ElfPatch {
  /** Sorted, not overlapping, without bytes that are the same already; they cover everything beyond the old end. */
  readonly writes: readonly ByteWrite[];
  /** Of the edited file, in bytes. */
  readonly size: number;
  /** The dearest way of making room that was needed. */
  readonly growth: Growth;
  /** What is different, for people; empty when nothing is. */
  readonly changes: readonly string[];
}

/**
 * Plans all edits of one file together. Nothing is written, and of the file only headers and the string table are read.
 * @throws FlixwrapError `elf-…` when the edit cannot be made without risking the file.
 */
export function planEdits(file: ElfFile, edits: ElfEdits): ElfPatch {
  const draft = openDraft(file);
  const changes: string[] = [];
  const blocks: Block[] = [];
  if (edits.interpreter !== undefined && edits.interpreter !== file.interpreter) {
    blocks.push(interpreterBlock(draft, edits.interpreter));
    changes.push(`interpreter ${file.interpreter} -> ${edits.interpreter}`);
  }
  changes.push(...editRunPath(draft, edits.runPath), ...editNoDefaultLib(draft, edits.noDefaultLib));
  if (changes.length === 0) return { writes: [], size: file.source.size, growth: "none", changes };
  layOut(draft, blocks);
  const writes = finishDraft(draft);
  if (writes.length > 0) useGrowth(draft, "in-place");
  return { writes, size: draft.size, growth: draft.growth, changes };
}

function editRunPath(draft: Draft, runPath: ElfEdits["runPath"]): string[] {
  const { file } = draft;
  if (runPath === undefined) return [];
  if (draft.table === undefined) {
    if (runPath === null) return [];
    throw refused("elf-not-dynamic", file, "no dynamic section");
  }
  const old = file.runpath === undefined ? file.rpath : file.runpath;
  const oldKind = file.runpath === undefined ? "rpath" : "runpath";
  const both = file.runpath !== undefined && file.rpath !== undefined;
  const tags: readonly number[] = [DT.RPATH, DT.RUNPATH];
  if (runPath === null) {
    if (old === undefined) return [];
    replaceEntry(draft.table, tags, undefined);
    return [`${oldKind} ${old} removed`];
  }
  refuseNul(file, runPath.value, "run path");
  if (!both && old === runPath.value && oldKind === runPath.kind) return [];
  const value = draft.table.entries.find((entry) => tags.includes(entry.tag))?.value;
  const tag = runPath.kind === "rpath" ? DT.RPATH : DT.RUNPATH;
  replaceEntry(draft.table, tags, { tag, text: runPath.value, ...(value === undefined ? {} : { value }) });
  return [
    old === undefined ? `${runPath.kind} ${runPath.value}` : `${oldKind} ${old} -> ${runPath.kind} ${runPath.value}`,
  ];
}

function editNoDefaultLib(draft: Draft, wanted: boolean | undefined): string[] {
  const { file, table } = draft;
  if (wanted === undefined || wanted === file.noDefaultLib) return [];
  if (table === undefined) throw refused("elf-not-dynamic", file, "no dynamic section");
  const old = table.entries.findLast((entry) => entry.tag === DT.FLAGS_1)?.value ?? 0n;
  const bit = BigInt(DF_1.NODEFLIB);
  const value = wanted ? old | bit : old & ~bit;
  replaceEntry(table, [DT.FLAGS_1], value === 0n ? undefined : { tag: DT.FLAGS_1, value });
  return [wanted ? "NODEFLIB" : "NODEFLIB removed"];
}

/** Gives every text a place in the string table and every block a place in the file, then writes the dynamic table. */
function layOut(draft: Draft, blocks: Block[]): void {
  const { file, table } = draft;
  if (table === undefined) {
    placeBlocks(draft, blocks);
    return;
  }
  fitEntries(file, table);
  const texts = table.entries.some((entry) => entry.text !== undefined);
  const strings = texts ? openStringTable(draft, table) : undefined;
  for (const entry of table.entries) if (entry.text !== undefined) strings?.intern(entry.text);
  placeBlocks(draft, strings === undefined ? blocks : [strings.block(), ...blocks]);
  const bytes = writeDynamicTable(file, table, (entry) => BigInt(strings?.intern(entry.text ?? "") ?? 0));
  draft.overlay.write(file.dynamicRange!.offset, bytes);
}

/** PT_INTERP's string: short, NUL-terminated, mapped (it becomes the loader's name), and never first in a segment (llvm-strip). */
function interpreterBlock(draft: Draft, interpreter: string): Block {
  const { file } = draft;
  const segment = draft.segments.find((one) => one.type === PT.INTERP);
  if (segment === undefined || file.interpreter === undefined) {
    throw refused("elf-no-interpreter", file, "no interpreter to replace", {
      hint: "statically linked programs and plain libraries have none",
    });
  }
  refuseNul(file, interpreter, "interpreter");
  const bytes = Buffer.concat([encodeName(interpreter), Buffer.alloc(1)]);
  // fs/binfmt_elf.c load_elf_binary: 2 to PATH_MAX bytes with the NUL.
  if (bytes.length < 2 || bytes.length > 4096) {
    throw refused("elf-value", file, "interpreter has no usable length", {
      got: `${bytes.length - 1} bytes`,
      wanted: "1 to 4095",
    });
  }
  const current = { offset: Number(segment.offset), length: Number(segment.filesz) };
  readRange(file, current.offset, current.length, "interpreter");
  const section = draft.sections.find(
    (one) => one.addr === segment.vaddr && one.offset === segment.offset && one.size > 0n,
  );
  return {
    current,
    bytes,
    moveTo(offset, address) {
      segment.offset = BigInt(offset);
      segment.vaddr = address;
      segment.paddr = address;
      segment.filesz = BigInt(bytes.length);
      segment.memsz = segment.filesz;
      if (section !== undefined) {
        section.offset = segment.offset;
        section.addr = address;
        section.size = segment.filesz;
      }
    },
  };
}

function refuseNul(file: ElfFile, text: string, what: string): void {
  if (text.includes("\0")) throw refused("elf-value", file, `${what} holds a NUL byte`);
}
