import type { MissingLibrary, SearchRule } from "./closure.ts";

const ruleNames: Readonly<Record<SearchRule["kind"], string>> = {
  interpreter: "loader",
  path: "path as written",
  rpath: "DT_RPATH",
  runpath: "DT_RUNPATH",
  "library-path": "LD_LIBRARY_PATH of the image",
  cache: "ld.so.cache",
  conf: "ld.so.conf",
  default: "default folder",
  "path-file": "path file",
  loaded: "already loaded",
};

/** A rule for people: `DT_RUNPATH of /usr/bin/x, /opt/lib`. */
export function wordRule(rule: SearchRule): string {
  const owner = "owner" in rule ? ` of ${rule.owner}` : "";
  return `${ruleNames[rule.kind]}${owner}${"folder" in rule ? `, ${rule.folder}` : ""}`;
}

/**
 * Lines for people: each missing name with all who need it, then, per different search, the folders in the
 * loader's order.
 */
export function explainMissing(missing: readonly MissingLibrary[]): string[] {
  const byName = new Map<string, Map<string, MissingLibrary[]>>();
  for (const one of missing) {
    const searches = byName.get(one.name) ?? new Map<string, MissingLibrary[]>();
    const key = JSON.stringify(one.searched);
    searches.set(key, [...(searches.get(key) ?? []), one]);
    byName.set(one.name, searches);
  }
  return [...byName].flatMap(([name, searches]) =>
    [...searches.values()].flatMap((same) => {
      const head = `${name}, needed by ${same.map(({ neededBy }) => neededBy).join(", ")}`;
      return [head].concat(wordSearch(same[0]!.searched).map((line) => `  ${line}`));
    }),
  );
}

function wordSearch(searched: MissingLibrary["searched"]): string[] {
  if (searched.length === 0) return ["looked nowhere: no list has a folder for it"];
  const shown = searched.slice(0, mostFolders);
  const more = searched.length - shown.length;
  const lines = shown.map(({ rule, folder, owner, note }) => {
    const whose = owner === undefined ? "" : ` of ${owner}`;
    return `${folder} (${ruleNames[rule]}${whose})${note === undefined ? "" : `: ${note}`}`;
  });
  return more === 0 ? lines : [...lines, `and ${more} folders more`];
}

const mostFolders = 50;
