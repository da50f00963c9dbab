import type { ByteWrite } from "../core/bytes.ts";
import { DF_1, DT } from "./constants.ts";
import { finishDraft, openDraft, useGrowth, type Draft, type Growth, type GrowthLimits } from "./draft.ts";
import { fitEntries } from "./dynamic-table.ts";
import {
  editDebugTag,
  editFlags,
  editNeeded,
  editRunPath,
  editSoname,
  type FlagEdit,
  type NeededEdits,
  type RunPath,
} from "./edit-dynamic.ts";
import { editExecutableStack, editOsAbi } from "./edit-header.ts";
import { clearSymbolVersions } from "./edit-versions.ts";
import type { ElfFile } from "./file.ts";
import { interpreterBlock } from "./interpreter.ts";
import { placeBlocks, type Block } from "./place.ts";
import { renameSymbols } from "./rename-symbols.ts";
import { refuseIncoherent } from "./coherence.ts";

/** What shall be different. What is absent stays. */
export interface ElfEdits {
  readonly interpreter?: string;
  /** The one run path the file has afterwards, as DT_RPATH or as DT_RUNPATH; null for none. */
  readonly runPath?: RunPath | null;
  readonly needed?: NeededEdits;
  /** DT_SONAME; null for none. */
  readonly soname?: string | null;
  /** DF_1_NODEFLIB: glibc's loader leaves out its compiled-in directories for this object's needs. */
  readonly noDefaultLib?: boolean;
  /** Bits of DT_FLAGS (`DF`). */
  readonly flags?: FlagEdit;
  /** Bits of DT_FLAGS_1 (`DF_1`). */
  readonly flags1?: FlagEdit;
  /** Adds DT_DEBUG, by which debuggers find the loaded libraries. */
  readonly debugTag?: true;
  /** Dynamic symbols that shall be bound whatever their version. */
  readonly clearSymbolVersions?: readonly string[];
  /** Old to new names of dynamic symbols. */
  readonly renameSymbols?: ReadonlyMap<string, string>;
  /** Whether PT_GNU_STACK asks for an executable stack. */
  readonly executableStack?: boolean;
  /** EI_OSABI. */
  readonly osAbi?: number;
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

const defaultLimits: GrowthLimits = { payload: "refuse", padding: 0, pageSize: 4096, keepOld: false };

/**
 * Plans all edits of one file together. Nothing is written, and of the file only headers and the tables concerned are read.
 * @throws FlixwrapError `elf-…` when the edit cannot be made without risking the file.
 */
export function planEdits(file: ElfFile, edits: ElfEdits, limits: Partial<GrowthLimits> = {}): ElfPatch {
  const draft = openDraft(file, { ...defaultLimits, ...limits });
  const changes: string[] = [];
  const blocks: Block[] = [];
  if (edits.interpreter !== undefined && edits.interpreter !== file.interpreter) {
    blocks.push(interpreterBlock(draft, edits.interpreter));
    changes.push(`interpreter ${file.interpreter} -> ${edits.interpreter}`);
  }
  const flags1: FlagEdit =
    edits.noDefaultLib === undefined
      ? { ...edits.flags1 }
      : {
          set: (edits.flags1?.set ?? 0) | (edits.noDefaultLib ? DF_1.NODEFLIB : 0),
          clear: (edits.flags1?.clear ?? 0) | (edits.noDefaultLib ? 0 : DF_1.NODEFLIB),
        };
  changes.push(
    ...editSoname(draft, edits.soname),
    ...editRunPath(draft, edits.runPath),
    ...editNeeded(draft, edits.needed),
    ...editFlags(draft, DT.FLAGS, edits.flags),
    ...editFlags(draft, DT.FLAGS_1, flags1),
    ...editDebugTag(draft, edits.debugTag),
    ...clearSymbolVersions(draft, edits.clearSymbolVersions),
    ...renameSymbols(draft, edits.renameSymbols),
    ...editExecutableStack(draft, edits.executableStack),
    ...editOsAbi(draft, edits.osAbi),
  );
  if (changes.length === 0) return { writes: [], size: file.source.size, growth: "none", changes };
  refuseIncoherent(draft);
  if (draft.table !== undefined)
    changes.push(...fitEntries(file, draft.table).map((name) => `${name} removed to make room`));
  layOut(draft, blocks);
  if (draft.growth === "table") changes.push("program header table moved: GNU strip would break the file");
  const writes = finishDraft(draft);
  if (writes.length > 0) useGrowth(draft, "in-place");
  return { writes, size: draft.size, growth: draft.growth, changes };
}

function layOut(draft: Draft, blocks: readonly Block[]): void {
  if (!draft.hasStrings()) {
    placeBlocks(draft, blocks);
    return;
  }
  draft.strings().settle();
  // The strings first: llvm-strip breaks a file whose PT_INTERP begins where a PT_LOAD begins (patchelf#507).
  placeBlocks(draft, [draft.strings().block(), ...blocks]);
}
