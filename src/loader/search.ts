import { type RootPath, parentOf, rootPath } from "../core/paths.ts";
import { DF_1, ET } from "../elf/constants.ts";
import type { ElfFile } from "../elf/file.ts";
import { findDynamicSymbol } from "../elf/symbols.ts";
import type { RootNode } from "../oci/rootfs.ts";
import { type Candidate, type OpenRule, candidateLists } from "./candidates.ts";
import type { SearchRule, SearchedFolder } from "./closure.ts";
import type { Opening } from "./objects.ts";
import type { Asker, SearchWorld } from "./world.ts";

/** What the loader opens, or where it looked in vain. */
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
