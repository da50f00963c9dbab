import { openFolder } from "../oci/folder-rootfs.ts";
import { defined } from "../core/defined.ts";
import { rootPath } from "../core/paths.ts";
import { architecturesOf } from "./values.ts";
import { type Recipe, recipeNames, readRecipe } from "./recipe.ts";
import { listVersions } from "./versions.ts";
import type { Web } from "./web.ts";
import { join, relative } from "node:path";

/** A line of `flixwrap list`. */
export interface CatalogueRow {
  readonly name: string;
  readonly summary: string;
  readonly folder: string;
  /** How it is made: `static`, `compiled`, `flix`, `flatwrap`, or `files`; several for parts of several kinds. */
  readonly kinds: readonly string[];
  readonly architectures: readonly string[];
  /** Paths of what the recipe brings itself, below the host's root. */
  readonly files: readonly string[];
  /** Units started with the merge. */
  readonly enable: readonly string[];
  readonly options: Readonly<Record<string, string>>;
  readonly needs: readonly string[];
  /** What the cache knows of upstream's versions; absent when nobody asked yet. */
  readonly versions?: { readonly newest: string; readonly count: number };
  readonly homepage?: string;
  readonly notes?: string;
}

/** All recipes of some folders, sorted; of two with one name, the first folder's. */
export function readCatalogue(folders: readonly string[]): Recipe[] {
  const byName = new Map<string, Recipe>();
  for (const folder of folders) {
    for (const name of recipeNames(folder)) if (!byName.has(name)) byName.set(name, readRecipe(join(folder, name)));
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What there is to say about a recipe. @param offline a Web that answers from its cache alone. */
export async function describeRecipe(recipe: Recipe, offline?: Web): Promise<CatalogueRow> {
  const { file, name, folder } = recipe;
  const versions = offline === undefined ? undefined : await knownVersions(recipe, offline);
  return {
    name,
    summary: file.summary,
    folder: relative(".", folder) || ".",
    kinds: kindsOf(recipe),
    architectures: architecturesOf(file),
    files: ownFiles(recipe),
    enable: (file.enable ?? []).map((one) => one.unit),
    options: Object.fromEntries(Object.entries(file.options ?? {}).map(([option, { help }]) => [option, help])),
    needs: file.needs ?? [],
    ...defined({ versions, homepage: file.homepage, notes: file.notes }),
  };
}

function kindsOf({ file }: Recipe): string[] {
  const kinds = (file.parts ?? []).map((part) => (part.kind === "download" ? "static" : (part.convert ?? "compiled")));
  return kinds.length === 0 ? ["files"] : [...new Set(kinds)];
}

/** Paths of the files in `files/`. */
export function ownFiles({ overlay }: Recipe): string[] {
  if (overlay === undefined) return [];
  return [...openFolder(overlay).walk(rootPath("/"))]
    .filter((node) => node.type !== "directory")
    .map((node) => node.path);
}

async function knownVersions({ file }: Recipe, offline: Web): Promise<CatalogueRow["versions"]> {
  if (file.versions === undefined) return undefined;
  // Not in the cache means not known yet; that is no error of a list.
  const versions = await listVersions(file.versions, { web: offline }).catch(() => []);
  return versions.length === 0 ? undefined : { newest: versions[0]!, count: versions.length };
}
