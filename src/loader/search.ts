import { type RootPath, parentOf, rootPath } from "../core/paths.ts";
import { DF_1, ET } from "../elf/constants.ts";
import type { ElfFile } from "../elf/file.ts";
import { findDynamicSymbol } from "../elf/symbols.ts";
import type { RootNode } from "../oci/rootfs.ts";
import type { SearchRule, SearchedFolder } from "./closure.ts";
import type { LoaderFacts } from "./facts.ts";
import { type CacheEntry, acceptsEntry } from "./library-cache.ts";
import type { Locator } from "./locate.ts";
import type { Opening } from "./objects.ts";
import type { SearchList } from "./policy.ts";
import { type TokenValues, expandTokens, parseRunPath } from "./run-path.ts";

/** An object in a process, as the one that asks for another. */
export interface Asker {
  readonly node: RootNode;
  readonly elf: ElfFile;
  /** The path it was opened by, spelled as its loader spelled it: `$ORIGIN` is its folder. */
  readonly openedAs: string;
  /** The object that asked for this one first; undefined for the program. */
  readonly loadedBy?: Asker;
}

export type SearchResult =
  | {
      readonly kind: "found";
      readonly node: RootNode;
      readonly elf: ElfFile;
      readonly openedAs: string;
      readonly path: RootPath;
      readonly rule: SearchRule;
    }
  | { readonly kind: "missing"; readonly searched: readonly SearchedFolder[] };

export interface SearchWorld {
  readonly facts: LoaderFacts;
  /** Active `glibc-hwcaps` levels, best first. */
  readonly levels: readonly string[];
  readonly locate: Locator;
  openObject(node: RootNode): Opening;
  /** What ldconfig would put into the cache. */
  conf(): readonly CacheEntry[];
}

/** A {@link SearchRule} before its folder is known to exist. */
type OpenRule =
  | { readonly kind: "path" | "cache" | "conf" | "default" | "path-file" }
  | { readonly kind: "rpath" | "runpath"; readonly owner: RootPath };

interface Candidate {
  readonly rule: OpenRule;
  /** The list's folder, without hwcaps sub-folders. */
  readonly folder: string;
  readonly path: string;
  /** The file to open for `path`, where ldconfig would have made a link of it. */
  readonly file?: string;
}

/** Finds the file that the loader opens for `name`, needed by `asker`; nothing is remembered between calls. */
export function search(world: SearchWorld, name: string, asker: Asker): SearchResult {
  const rows: SearchedFolder[] = [];
  for (const list of candidateLists(world, name, asker)) {
    for (const candidate of list) {
      const location = world.locate(candidate.file ?? candidate.path);
      if (location.kind === "loop") {
        addRow(rows, candidate, "too many levels of symbolic links");
        if (world.facts.policy.loop === "end-search") return { kind: "missing", searched: rows };
        break;
      }
      if (location.kind === "absent") {
        addRow(rows, candidate, missingFolderNote(world, candidate));
        continue;
      }
      const opening = openLibrary(world, location.node);
      if (opening === "foreign" && world.facts.policy.foreign === "skip") {
        addRow(rows, candidate, `${candidate.path} is for another machine`);
      } else if (opening === "foreign" || "defect" in opening) {
        const defect = opening === "foreign" ? "for another machine" : opening.defect;
        addRow(rows, candidate, `${candidate.path}: ${defect}; the loader gives up here`);
        return { kind: "missing", searched: rows };
      } else {
        const rule = ruleIn(candidate.rule, parentOf(location.path));
        return {
          kind: "found",
          node: location.node,
          elf: opening,
          openedAs: candidate.path,
          path: candidate.file === undefined ? location.path : rootPath(candidate.path),
          rule,
        };
      }
    }
  }
  return { kind: "missing", searched: rows };
}

function openLibrary(world: SearchWorld, node: RootNode): Opening {
  const opening = world.openObject(node);
  if (opening === "foreign" || "defect" in opening || !world.facts.policy.refusesPrograms) return opening;
  if (opening.type === ET.EXEC) return { defect: "cannot dynamically load executable" };
  const isPie = (opening.flags1 & DF_1.PIE) !== 0;
  return isPie ? { defect: "cannot dynamically load position-independent executable" } : opening;
}

/** A second C library under the loader's: never loaded, the loader stands in for it. */
export function isTwinOfLoader(world: SearchWorld, elf: ElfFile): boolean {
  const { twin } = world.facts.policy.loaded;
  return twin?.every((symbol) => findDynamicSymbol(elf, symbol) !== undefined) ?? false;
}

function* candidateLists(world: SearchWorld, name: string, asker: Asker): Iterable<Iterable<Candidate>> {
  if (name.includes("/")) {
    yield [{ rule: { kind: "path" }, folder: name.slice(0, name.lastIndexOf("/")) || "/", path: name }];
    return;
  }
  for (const list of world.facts.policy.lists) yield* expandList(world, list, name, asker);
}

function* expandList(world: SearchWorld, list: SearchList, name: string, asker: Asker): Iterable<Iterable<Candidate>> {
  const { facts } = world;
  const shutsDefaults = facts.policy.noDefaultLib && asker.elf.noDefaultLib;
  switch (list.kind) {
    case "run-path": {
      if (list.unlessRunpath && asker.elf.runpath !== undefined) return;
      for (let owner: Asker | undefined = asker; owner; owner = list.of === "chain" ? owner.loadedBy : undefined) {
        const runPath = runPathOf(owner, list.tag, facts);
        if (runPath === undefined) continue;
        const { kind, folders } = runPath;
        yield inFolders(world, folders, name, { kind, owner: owner.node.path });
      }
      return;
    }
    case "cache":
    case "conf": {
      const entries = list.kind === "cache" ? facts.cache : world.conf();
      const entry = entries === undefined ? undefined : chooseEntry(entries, name, world);
      if (entry === undefined) return;
      const { path, file } = entry;
      if (shutsDefaults && facts.systemFolders.some((folder) => path.startsWith(folder))) return;
      const folder = path.slice(0, path.lastIndexOf("/"));
      yield [{ rule: { kind: list.kind }, folder, path, ...(file !== undefined && { file }) }];
      return;
    }
    case "default":
      if (!shutsDefaults) yield inFolders(world, facts.defaults.folders, name, { kind: facts.defaults.rule });
  }
}

function* inFolders(world: SearchWorld, folders: readonly string[], name: string, rule: OpenRule): Iterable<Candidate> {
  const subfolders = [...world.levels.map((level) => `glibc-hwcaps/${level}`), ...world.facts.subfolders];
  for (const folder of folders) {
    const prefix = folder === "" || folder.endsWith("/") ? folder : `${folder}/`;
    for (const subfolder of subfolders) {
      // Hardly any folder has one: asked once per folder, not once per library.
      if (world.locate(`${prefix}${subfolder}`).kind === "absent") continue;
      yield { rule, folder, path: `${prefix}${subfolder}/${name}` };
    }
    yield { rule, folder, path: `${prefix}${name}` };
  }
}

/** The DT_RPATH or DT_RUNPATH that counts for `tag`. An object with both has only DT_RUNPATH, for every loader. */
function runPathOf(
  owner: Asker,
  tag: "rpath" | "runpath" | "prefer-runpath",
  facts: LoaderFacts,
): { readonly kind: "rpath" | "runpath"; readonly folders: readonly string[] } | undefined {
  const kind = owner.elf.runpath === undefined ? "rpath" : "runpath";
  const text = owner.elf[kind];
  if (text === undefined || (tag !== "prefer-runpath" && tag !== kind)) return undefined;
  // Parsed once per object and process: a large program asks a thousand times.
  const folders = runPaths.get(owner) ?? parseRunPath(text, facts.policy.runPath, tokensOf(owner, facts));
  runPaths.set(owner, folders);
  return { kind, folders };
}

const runPaths = new WeakMap<Asker, readonly string[]>();

/** Values of the tokens in the strings of one object. */
export function tokensOf(owner: Asker, facts: LoaderFacts): TokenValues {
  const slash = owner.openedAs.lastIndexOf("/");
  const origin =
    slash < 0 ? "." : slash === 0 && facts.policy.family === "glibc" ? "/" : owner.openedAs.slice(0, slash);
  return { ...facts.tokens, ORIGIN: origin };
}

/** A DT_NEEDED string as it is searched for; undefined when a token in it has no value. */
export function expandName(name: string, owner: Asker, facts: LoaderFacts): string | undefined {
  const { runPath } = facts.policy;
  return runPath.inNames ? expandTokens(name, runPath, tokensOf(owner, facts)) : name;
}

/** dl-cache.c: the best active hwcaps level, else the first entry without one. */
function chooseEntry(entries: readonly CacheEntry[], name: string, world: SearchWorld): CacheEntry | undefined {
  const key = cacheKey(name);
  const fitting = indexEntries(entries)
    .get(key)
    ?.filter((entry) => acceptsEntry(entry.flags, world.facts.elf) && entry.legacyHwcap === 0n);
  const ranked = [...world.levels, undefined].map((level) => fitting?.find((entry) => entry.hwcaps === level));
  return ranked.find((entry) => entry !== undefined);
}

const indexes = new WeakMap<readonly CacheEntry[], ReadonlyMap<string, readonly CacheEntry[]>>();

function indexEntries(entries: readonly CacheEntry[]): ReadonlyMap<string, readonly CacheEntry[]> {
  let index = indexes.get(entries);
  if (index === undefined) {
    const rows = new Map<string, CacheEntry[]>();
    for (const entry of entries) {
      const key = cacheKey(entry.name);
      const row = rows.get(key);
      if (row === undefined) rows.set(key, [entry]);
      else row.push(entry);
    }
    index = rows;
    indexes.set(entries, index);
  }
  return index;
}

/** _dl_cache_libcmp compares runs of digits as numbers: `libx.so.01` is `libx.so.1`. */
const cacheKey = (name: string): string =>
  name.replace(/0+(?=\d)/g, (zeros, at: number) => (/\d/.test(name[at - 1] ?? "") ? zeros : ""));

function ruleIn(rule: OpenRule, folder: RootPath): SearchRule {
  return rule.kind === "path" ? { kind: rule.kind } : { ...rule, folder };
}

/** One row per folder: its hwcaps sub-folders add a row only when something was in the way there. */
function addRow(rows: SearchedFolder[], candidate: Candidate, note: string | undefined): void {
  const last = rows.at(-1);
  const { kind: rule } = candidate.rule;
  const owner = "owner" in candidate.rule ? candidate.rule.owner : undefined;
  const folder = candidate.folder || ".";
  const row = { rule, folder, ...(owner !== undefined && { owner }), ...(note !== undefined && { note }) };
  if (
    last?.rule === rule &&
    last.owner === owner &&
    last.folder === folder &&
    (note === undefined || last.note === note)
  )
    return;
  rows.push(row);
}

function missingFolderNote(world: SearchWorld, candidate: Candidate): string | undefined {
  if (!candidate.folder.startsWith("/")) return "relative to the folder the program is started in";
  if (candidate.rule.kind === "cache") return "stale entry";
  const location = world.locate(candidate.folder);
  return location.kind === "node" && location.node.type === "directory" ? undefined : "no such folder";
}
