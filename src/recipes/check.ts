import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseUnit, valuesOf } from "../extension/units/unit-file.ts";
import { ownFiles } from "./catalogue.ts";
import { parseCondition } from "./condition.ts";
import type { Part, RecipeFile } from "./format.ts";
import { builtInNames } from "./normalise.ts";
import type { Recipe } from "./recipe.ts";
import { templateNames } from "./template.ts";

/** What is wrong with a recipe, or doubtful. */
export interface RecipeFinding {
  readonly severity: "error" | "warning";
  /** A path in `files/`, or a key of the recipe. */
  readonly where: string;
  readonly message: string;
}

/** Looks a readable recipe over without any download. */
export function checkRecipe(recipe: Recipe): RecipeFinding[] {
  const files = ownFiles(recipe);
  return [
    ...checkNames(recipe.file),
    ...checkFiles(files),
    ...checkUnits(recipe, files),
    ...checkCopies(recipe, files),
    ...checkVerification(recipe.file),
  ];
}

const error = (where: string, message: string): RecipeFinding => ({ severity: "error", where, message });
const warning = (where: string, message: string): RecipeFinding => ({ severity: "warning", where, message });

/** Names of templates and conditions that nothing defines. */
function* checkNames(file: RecipeFile): Iterable<RecipeFinding> {
  const known = new Set([
    ...builtInNames,
    ...Object.keys(file.options ?? {}),
    ...Object.keys(file.variables ?? {}),
    "url",
  ]);
  const perArchitecture = Object.values(file.architectures ?? {}).map((names) => new Set(Object.keys(names)));
  const defined = (name: string): boolean =>
    known.has(name) || (perArchitecture.length > 0 && perArchitecture.every((names) => names.has(name)));
  for (const [where, text] of textsOf(file, "")) {
    // A version list is fetched before there is a version; `branches` has a name of its own.
    const names = /\.when$|^when$/.test(where) ? parseCondition(text).map((one) => one.name) : templateNames(text);
    for (const name of names) if (!defined(name)) yield error(where, `{${name}} is defined nowhere`);
  }
}

function* textsOf(value: unknown, path: string): Iterable<[string, string]> {
  if (typeof value === "string") yield [path, value];
  else if (typeof value === "object" && value !== null) {
    for (const [key, child] of Object.entries(value)) {
      if (path === "" && ["summary", "notes", "homepage", "license"].includes(key)) continue;
      yield* textsOf(child, path === "" ? key : `${path}.${key}`);
    }
  }
}

function* checkFiles(files: readonly string[]): Iterable<RecipeFinding> {
  for (const path of files) {
    if (!/^\/(usr|opt)\//.test(path)) yield error(path, "an extension holds /usr and /opt only");
    if (/^\/usr\/(sbin|lib64|local\/sbin)\//.test(path))
      yield error(path, "this folder is a link on most hosts, which it would hide");
    if (/\/[^/]+\.(target|service|socket|timer)\.d\/[^/]+$/.test(path) && !path.endsWith(".conf"))
      yield error(path, "systemd reads drop-ins that end in .conf only");
    if (/\.target\.(wants|requires)\//.test(path))
      yield warning(path, "starts at boot only, not with a merge; name the unit in `enable`");
  }
}

const unitPath = /\/systemd\/system\/([^/]+\.(service|socket|timer|path|target|mount))$/;

function* checkUnits({ file, overlay }: Recipe, files: readonly string[]): Iterable<RecipeFinding> {
  const units = files.filter((path) => unitPath.test(path));
  for (const path of units) {
    const unit = parseUnit(readFileSync(join(overlay!, path), "utf8"));
    for (const item of unit.items)
      if (item.kind === "other" && item.problem !== undefined) yield error(path, `${item.problem}: ${item.raw.trim()}`);
    for (const key of ["ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop"]) {
      for (const value of valuesOf(unit, "Service", key)) {
        if (/^[-+@:!|]*\/usr\/(local\/)?sbin\//.test(value))
          yield error(path, `${key} names a program in sbin, where an extension cannot bring one`);
      }
    }
  }
  const own = units.map((path) => unitPath.exec(path)![1]!);
  const placed = (file.parts ?? []).flatMap((part) => part.files.map((row) => row.to));
  for (const { unit } of file.enable ?? []) {
    if (!own.includes(unit) && !placed.some((to) => to.endsWith(`/${unit}`) || to.endsWith("/")))
      yield error("enable", `${unit} is neither in files/ nor placed by a part`);
  }
}

/** Sources that tmpfiles.d copies from must be shipped. */
function* checkCopies({ file, overlay }: Recipe, files: readonly string[]): Iterable<RecipeFinding> {
  const shipped = [...files, ...Object.keys(file.text ?? {})];
  const placed = (file.parts ?? []).flatMap((part: Part) => part.files.map((row) => row.to));
  for (const path of files.filter((one) => one.startsWith("/usr/lib/tmpfiles.d/"))) {
    for (const line of readFileSync(join(overlay!, path), "utf8").split("\n")) {
      const words = line.trim().split(/\s+/);
      const source = /^[CL]/.test(words[0] ?? "") ? words[6] : undefined;
      if (source === undefined) continue;
      const found =
        shipped.some((one) => one === source || one.startsWith(`${source}/`)) ||
        placed.some(
          (to) => to === source || to.startsWith(`${source}/`) || (to.endsWith("/") && source.startsWith(to)),
        );
      if (!found) yield error(path, `copies ${source}, which nothing ships`);
    }
  }
}

function* checkVerification({ parts = [] }: RecipeFile): Iterable<RecipeFinding> {
  for (const [at, part] of parts.entries()) {
    const verifications = part.kind === "download" ? [part.verify] : part.inputs.map((input) => input.verify);
    for (const verify of verifications)
      if (verify.kind === "unverified") yield warning(`parts.${at}`, `is not verified: ${verify.reason}`);
  }
}
