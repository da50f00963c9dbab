import type { RootPath } from "../core/paths.ts";
import type { LoaderFacts } from "./facts.ts";
import { type CacheEntry, acceptsEntry } from "./library-cache.ts";
import type { SearchList } from "./policy.ts";
import { type TokenValues, expandTokens, parseRunPath } from "./run-path.ts";
import type { Asker, SearchWorld } from "./world.ts";

/** A {@link SearchRule} before its folder is known to exist. */
export type OpenRule =
  | { readonly kind: "path" | "library-path" | "cache" | "conf" | "default" | "path-file" }
  | { readonly kind: "rpath" | "runpath"; readonly owner: RootPath };

/** A path that the loader would try. */
export interface Candidate {
  readonly rule: OpenRule;
  /** The list's folder, without hwcaps sub-folders. */
  readonly folder: string;
  readonly path: string;
  /** The file to open for `path`, where ldconfig would have made a link of it. */
  readonly file?: string;
}

/** What is tried for a name, list by list: a link loop ends a list. */
export function* candidateLists(world: SearchWorld, name: string, asker: Asker): Iterable<Iterable<Candidate>> {
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
    case "library-path":
      yield inFolders(world, world.libraryPath, name, { kind: "library-path" });
      return;
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
function tokensOf(owner: Asker, facts: LoaderFacts): TokenValues {
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
