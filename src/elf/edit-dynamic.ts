import { refuseBootstrap } from "./bootstrap.ts";
import { DF, DF_1, DT } from "./constants.ts";
import { refuseNul, tableOf, type Draft } from "./draft.ts";
import { lastEntry, type DynamicTable, type TableEntry } from "./dynamic-table.ts";
import { dropNeededVersions, renameNeededVersions } from "./edit-versions.ts";
import { refused } from "./problems.ts";

/** Edits of the dynamic table. Each gives back what it has changed, for people. */

/** A run path and the tag that carries it, DT_RPATH or DT_RUNPATH. */
export interface RunPath {
  readonly kind: "rpath" | "runpath";
  readonly value: string;
}

/** Carried out in this order: remove, replace, add. */
export interface NeededEdits {
  /** Put before the others, so that they are searched first; one that is needed already stays where it is. */
  readonly add?: readonly string[];
  /** Their version requirements go, too: the loader would insist on the library (glibc elf/dl-version.c). */
  readonly remove?: readonly string[];
  /** Old to new names; the version requirements follow. */
  readonly replace?: ReadonlyMap<string, string>;
}

/** Bits of DT_FLAGS or DT_FLAGS_1 to be set and to be cleared. */
export interface FlagEdit {
  readonly set?: number;
  readonly clear?: number;
}

/** Gives an entry a string; the string it had is no longer referred to. */
function setText(draft: Draft, entry: TableEntry, text: string, what: string): void {
  refuseNul(draft.file, text, what);
  const old = entry.slot === undefined ? undefined : entry.value;
  if (old !== undefined) draft.strings().drop(old);
  draft.strings().request(text, (offset) => void (entry.value = BigInt(offset)), old);
}

function removeEntries(draft: Draft, table: DynamicTable, gone: readonly TableEntry[]): void {
  for (const { value } of gone) draft.strings().drop(value);
  table.entries = table.entries.filter((entry) => !gone.includes(entry));
}

function addEntry(table: DynamicTable, tag: number): TableEntry {
  const entry: TableEntry = { tag, value: 0n };
  table.entries = [...table.entries, entry];
  return entry;
}

/** Sets the run path, or takes every one away (null). */
export function editRunPath(draft: Draft, runPath: RunPath | null | undefined): string[] {
  if (runPath === undefined) return [];
  const { file } = draft;
  const kind = file.runpath === undefined ? "rpath" : "runpath";
  const old = file.runpath ?? file.rpath;
  if (runPath === null && old === undefined) return [];
  const table = tableOf(draft);
  const present = table.entries.filter(({ tag }) => tag === DT.RPATH || tag === DT.RUNPATH);
  if (runPath === null) {
    removeEntries(draft, table, present);
    return [`${kind} ${old} removed`];
  }
  if (present.length === 1 && kind === runPath.kind && old === runPath.value) return [];
  refuseBootstrap(file, "a run path");
  const tag = runPath.kind === "rpath" ? DT.RPATH : DT.RUNPATH;
  // The one that counts keeps its slot: DT_RPATH is ignored beside DT_RUNPATH.
  const kept = lastEntry(table, kind === "rpath" ? DT.RPATH : DT.RUNPATH) ?? addEntry(table, tag);
  removeEntries(
    draft,
    table,
    present.filter((entry) => entry !== kept),
  );
  kept.tag = tag;
  if (old !== runPath.value) setText(draft, kept, runPath.value, "run path");
  return [
    old === undefined ? `${runPath.kind} ${runPath.value}` : `${kind} ${old} -> ${runPath.kind} ${runPath.value}`,
  ];
}

/** Sets DT_SONAME, or takes it away (null). */
export function editSoname(draft: Draft, soname: string | null | undefined): string[] {
  const { file } = draft;
  if (soname === undefined || soname === (file.soname ?? null)) return [];
  const table = tableOf(draft);
  if (soname === null) {
    removeEntries(
      draft,
      table,
      table.entries.filter(({ tag }) => tag === DT.SONAME),
    );
    return [`soname ${file.soname} removed`];
  }
  setText(draft, lastEntry(table, DT.SONAME) ?? addEntry(table, DT.SONAME), soname, "soname");
  return [file.soname === undefined ? `soname ${soname}` : `soname ${file.soname} -> ${soname}`];
}

/** Removes, renames and adds needed libraries. */
export function editNeeded(draft: Draft, edits: NeededEdits | undefined): string[] {
  if (edits === undefined) return [];
  const { file } = draft;
  const table = file.isDynamic ? tableOf(draft) : undefined;
  const needs = (table?.entries ?? [])
    .filter(({ tag }) => tag === DT.NEEDED)
    .map((entry, index) => ({ entry, name: file.needed[index]! }));
  const gone = needs.filter(({ name }) => edits.remove?.includes(name));
  const kept = needs.filter((need) => !gone.includes(need));
  const replaced = kept.flatMap(({ entry, name }) => {
    const to = edits.replace?.get(name);
    return to === undefined || to === name ? [] : [{ entry, name, to }];
  });
  const names = new Set(kept.map(({ name }) => edits.replace?.get(name) ?? name));
  const added = [...new Set(edits.add)].filter((name) => !names.has(name));
  if (gone.length + replaced.length + added.length === 0) return [];
  const dynamic = tableOf(draft);
  removeEntries(
    draft,
    dynamic,
    gone.map(({ entry }) => entry),
  );
  for (const { entry, to } of replaced) setText(draft, entry, to, "needed library");
  const entries = added.map((name) => {
    const entry: TableEntry = { tag: DT.NEEDED, value: 0n };
    setText(draft, entry, name, "needed library");
    return entry;
  });
  const first = dynamic.entries.findIndex(({ tag }) => tag === DT.NEEDED);
  dynamic.entries = dynamic.entries.toSpliced(Math.max(0, first), 0, ...entries);
  dropNeededVersions(draft, new Set(gone.map(({ name }) => name).filter((name) => !names.has(name))));
  renameNeededVersions(draft, new Map(replaced.map(({ name, to }) => [name, to])));
  return [
    ...gone.map(({ name }) => `needed ${name} removed`),
    ...replaced.map(({ name, to }) => `needed ${name} -> ${to}`),
    ...added.map((name) => `needed ${name}`),
  ];
}

const flagTables = {
  [DT.FLAGS]: { names: DF, what: "DT_FLAGS", now: DF.BIND_NOW },
  [DT.FLAGS_1]: { names: DF_1, what: "DT_FLAGS_1", now: DF_1.NOW },
} as const;

/** Sets and clears bits of DT_FLAGS or DT_FLAGS_1. */
export function editFlags(
  draft: Draft,
  tag: typeof DT.FLAGS | typeof DT.FLAGS_1,
  edit: FlagEdit | undefined,
): string[] {
  const { set = 0, clear = 0 } = edit ?? {};
  if (set === 0 && clear === 0) return [];
  const { names, what, now } = flagTables[tag];
  if ((set & clear) !== 0 || set > 0xffffffff || clear > 0xffffffff) {
    throw refused("elf-value", draft.file, `${what}: the same bit is to be set and cleared, or has no meaning`);
  }
  const old = draft.table === undefined ? undefined : lastEntry(draft.table, tag);
  const before = old?.value ?? 0n;
  const after = (before | BigInt(set >>> 0)) & ~BigInt(clear >>> 0);
  if (after === before) return [];
  const table = tableOf(draft);
  if (set !== 0 && set !== now) refuseBootstrap(draft.file, what);
  if (after === 0n) table.entries = table.entries.filter((entry) => entry.tag !== tag);
  else (old ?? addEntry(table, tag)).value = after;
  const changed = Object.entries(names).filter(([, bit]) => ((before ^ after) & BigInt(bit)) !== 0n);
  return changed.map(([name, bit]) => ((after & BigInt(bit)) === 0n ? `${what} ${name} removed` : `${what} ${name}`));
}

/** Adds DT_DEBUG unless there is one. */
export function editDebugTag(draft: Draft, wanted: true | undefined): string[] {
  if (wanted === undefined) return [];
  const table = tableOf(draft);
  if (lastEntry(table, DT.DEBUG) !== undefined) return [];
  addEntry(table, DT.DEBUG);
  return ["DT_DEBUG"];
}
