import { readdirSync, readFileSync, type Stats, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { FlixwrapError } from "../core/errors.ts";
import { parseName } from "../extension/release.ts";
import { editDistance } from "./edit-distance.ts";
import type { RecipeFile } from "./format.ts";
import { parseRecipe } from "./read.ts";

/** A recipe's folder, read. */
export interface Recipe {
  /** The folder's name. */
  readonly name: string;
  readonly folder: string;
  readonly file: RecipeFile;
  /** The folder whose content is copied as it is; undefined when there is none. */
  readonly overlay?: string;
}

const isFolder = (path: string): boolean => statOf(path)?.isDirectory() ?? false;
const isFile = (path: string): boolean => statOf(path)?.isFile() ?? false;

/** Nothing is there, or it cannot be reached: the same to whoever looks for a recipe. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** The recipe in a folder. @throws FlixwrapError `recipe-missing`, `recipe-yaml`, `recipe-invalid`, `extension-name` */
export function readRecipe(folder: string): Recipe {
  const path = join(folder, "recipe.yaml");
  const name = parseName(basename(resolve(folder)));
  if (!isFile(path)) {
    throw new FlixwrapError("recipe-missing", {
      what: "there is no recipe.yaml in the folder",
      where: folder,
      hint: "flixwrap recipe new NAME makes one",
    });
  }
  const overlay = join(folder, "files");
  return { name, folder, file: parseRecipe(readFileSync(path, "utf8"), path), ...(isFolder(overlay) && { overlay }) };
}

/** Names of the recipes in a folder of recipes, sorted. */
export function recipeNames(folder: string): string[] {
  if (!isFolder(folder)) return [];
  return readdirSync(folder)
    .filter((name) => isFile(join(folder, name, "recipe.yaml")))
    .sort();
}

/**
 * The recipe that a user means: a path to a folder (with a slash in it), or a name looked for in `folders` in
 * their order. The old tool's `NAME.sysext` and `NAME.sysext/` mean NAME.
 * @throws FlixwrapError `recipe-unknown` with names that are alike
 */
export function findRecipe(text: string, folders: readonly string[]): Recipe {
  const name = text.replace(/\.sysext\/?$/, "");
  if (name.includes("/") || name === ".") return readRecipe(name);
  const folder = folders.map((one) => join(one, name)).find((one) => isFile(join(one, "recipe.yaml")));
  if (folder !== undefined) return readRecipe(folder);
  const known = [...new Set(folders.flatMap(recipeNames))].sort();
  const near = known.filter((one) => one.includes(name) || editDistance(one, name) <= 2).slice(0, 3);
  throw new FlixwrapError("recipe-unknown", {
    what: "there is no recipe of this name",
    got: text,
    hint: isFile(join(name, "recipe.yaml"))
      ? `a folder of your own is written ./${name}`
      : near.length > 0
        ? `did you mean ${near.join(" or ")}?`
        : `flixwrap list shows all ${known.length}; a folder of your own is written ./${name}`,
  });
}
