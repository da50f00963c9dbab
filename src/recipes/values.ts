import { findArchitecture, type Architecture } from "../core/architectures.ts";
import { FlixwrapError } from "../core/errors.ts";
import { holds } from "./condition.ts";
import { editDistance } from "./edit-distance.ts";
import type { RecipeFile, RecipeOption } from "./format.ts";
import { fillTemplate, type Values } from "./template.ts";
import { branchOf } from "./version-order.ts";
import { latestVersions, spellVersion, type VersionSources } from "./versions.ts";

/** The architectures a recipe is for, by systemd's names. */
export const architecturesOf = (recipe: RecipeFile): string[] =>
  Object.keys(recipe.architectures ?? { "x86-64": {}, arm64: {} });

/**
 * The row for a name in any usual spelling, if the recipe is for it.
 * @throws FlixwrapError `usage`, `recipe-architecture`
 */
export function pickArchitecture(recipe: RecipeFile, name: string, recipeName: string): Architecture {
  const row = findArchitecture(name);
  const known = architecturesOf(recipe);
  if (row === undefined)
    throw new FlixwrapError("usage", { what: "unknown architecture", got: name, wanted: known.join(" or ") });
  if (known.includes(row.systemd)) return row;
  throw new FlixwrapError("recipe-architecture", {
    what: `${recipeName} is not made for ${row.systemd}`,
    wanted: known.join(" or "),
  });
}

/** Names that follow from the version and the architecture alone. */
export function baseValues(recipe: RecipeFile, name: string, version: string, architecture: Architecture): Values {
  const number = version.replace(/^v(?=\d)/, "");
  return {
    ...recipe.architectures?.[architecture.systemd],
    name,
    version,
    number,
    major: branchOf(version, "major"),
    branch: branchOf(version, "minor"),
    arch: architecture.systemd,
    goarch: architecture.oci,
    // What `uname -m` says, which is also what most upstreams put into file names.
    uname: architecture.musl,
  };
}

/** What the user set, by option name. */
export type OptionValues = Readonly<Record<string, string>>;

/**
 * Every option of the recipe with its value: given, from an old environment variable, default, or "". `latest`
 * is looked up where the option has versions.
 * @throws FlixwrapError `usage` for unknown, missing and impossible ones
 */
export async function readOptions(
  recipe: RecipeFile,
  given: OptionValues,
  env: Readonly<Record<string, string | undefined>>,
  sources: VersionSources,
): Promise<Record<string, string>> {
  const options = recipe.options ?? {};
  for (const name of Object.keys(given))
    if (!Object.hasOwn(options, name)) throw unknownOption(name, Object.keys(options));
  const values: Record<string, string> = {};
  for (const [name, option] of Object.entries(options)) {
    const value = given[name] ?? fromEnvironment(name, option, env) ?? option.default ?? "";
    values[name] = value === "" ? value : await checkValue(name, value, option, sources);
    if (value === "" && option.required === true) {
      throw new FlixwrapError("usage", { what: `--${name} is required`, wanted: option.help });
    }
  }
  return values;
}

async function checkValue(name: string, value: string, option: RecipeOption, sources: VersionSources): Promise<string> {
  if (option.choices !== undefined && !option.choices.includes(value)) {
    throw new FlixwrapError("usage", {
      what: `--${name} cannot be that`,
      got: value,
      wanted: option.choices.join(" or "),
    });
  }
  if (option.versions === undefined) return value;
  if (value === "latest") return (await latestVersions(option.versions, sources))[0]!;
  const spelt = spellVersion(value, option.versions);
  if (spelt !== undefined) return spelt;
  throw new FlixwrapError("usage", {
    what: `--${name} must be a version or latest`,
    got: value,
    wanted: option.versions.prefix + option.versions.pattern,
  });
}

function fromEnvironment(
  name: string,
  option: RecipeOption,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const set = Object.entries(option.environment ?? {}).filter(([variable]) => env[variable] && env[variable] !== "0");
  if (set.length > 1) {
    throw new FlixwrapError("usage", {
      what: `${set.map(([variable]) => variable).join(" and ")} exclude each other`,
      hint: `use --${name}`,
    });
  }
  const [first] = set;
  return first && (first[1] === "*" ? env[first[0]] : first[1]);
}

function unknownOption(name: string, known: readonly string[]): FlixwrapError {
  const near = known.find((candidate) => editDistance(candidate, name) <= 2);
  return new FlixwrapError("usage", {
    what: `unknown option --${name}`,
    ...(known.length > 0 && { wanted: known.map((one) => `--${one}`).join(", ") }),
    ...(near !== undefined && { hint: `did you mean --${near}?` }),
  });
}

/** `values` and the recipe's variables, each from its first row that holds. */
export async function addVariables(recipe: RecipeFile, values: Values, { web }: VersionSources): Promise<Values> {
  let all = values;
  for (const [name, rows] of Object.entries(recipe.variables ?? {})) {
    const where = `variables.${name}`;
    const row = rows.find((one) => holds(one.when, all));
    if (row?.page === undefined) {
      all = { ...all, [name]: fillTemplate(row?.value ?? "", all, where) };
      continue;
    }
    const address = fillTemplate(row.page, all, where);
    const page = await web.page(address);
    if (page === undefined) {
      if (row.value === undefined)
        throw new FlixwrapError("recipe-not-found", { what: `cannot find out ${name}`, where: address });
      all = { ...all, [name]: fillTemplate(row.value, all, where) };
      continue;
    }
    const value = row.match === undefined ? page.text.trim() : new RegExp(row.match, "m").exec(page.text)?.[1];
    if (value === undefined || !/^[\w.+-]+$/.test(value)) {
      throw new FlixwrapError("recipe-variable", {
        what: `cannot find ${name} in the file`,
        where: address,
        wanted: row.match ?? "one word",
      });
    }
    all = { ...all, [name]: value };
  }
  return all;
}
