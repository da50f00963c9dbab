import { arch as machine } from "node:os";
import { Command } from "commander";
import type { BakeOptions } from "../convert/bake.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { wordSystemError } from "../host/system-error.ts";
import type { Recipe } from "../recipes/index.ts";
import { newCommand } from "./option-row.ts";
import {
  bakeOptions,
  checkOptions,
  extensionOptions,
  imageOptions,
  indexOptions,
  jsonOption,
  listOptions,
  packOptions,
  prefixOptions,
  publishOptions,
  releaseOptions,
  runOptions,
  shellOptions,
  skeletonOptions,
  versionsOptions,
} from "./options.ts";
import type { Session } from "./program.ts";

/** The recipes that come with flixwrap, one folder above both `src` and `dist`. */
const ownRecipes = new URL("../../recipes", import.meta.url).pathname;

/** `flixwrap list` */
export function listCommand(session: Session): Command {
  return newCommand("list", listOptions, session.env)
    .description("List the recipes: what each ships, how it is made, its options.")
    .action(async (options: { readonly json?: boolean; readonly plain?: boolean; readonly recipes?: string }) => {
      const { readCatalogue, describeRecipe } = await import("../recipes/index.ts");
      const { openPorts } = await import("../convert/bake.ts");
      const { web } = openPorts({ offline: true }, session.context({ json: options.json === true, quiet: true }));
      const recipes = readCatalogue(foldersOf(options.recipes));
      if (options.plain) return session.terminal.out(recipes.map(({ name }) => `${name}\n`).join(""));
      const rows = [];
      for (const recipe of recipes) rows.push(await describeRecipe(recipe, web));
      if (options.json) return session.terminal.out(`${JSON.stringify(rows)}\n`);
      for (const { name, kinds, summary } of rows)
        session.terminal.out(`${name.padEnd(18)} ${kinds.join("+").padEnd(10)} ${summary}\n`);
    });
}

/** `flixwrap versions NAME` */
export function versionsCommand(session: Session): Command {
  return newCommand("versions", versionsOptions, session.env)
    .description("List what upstream offers of a recipe, newest first.")
    .argument("<recipe>", "name, or a folder of one's own with a slash in it")
    .action(async (name: string, options: BakeOptions & VersionFlags) => {
      const { findRecipe, latestVersions, listPublished, listVersions, publishedVersions, sourcesOf } =
        await import("../recipes/index.ts");
      const { openPorts } = await import("../convert/bake.ts");
      const { file, name: recipe } = findRecipe(name, foldersOf(options.recipes));
      if (file.versions === undefined)
        throw new FlixwrapError("recipe-unknown-version", { what: "this recipe has no versions", got: name });
      const sources = sourcesOf(openPorts(options, session.context({ json: options.json === true, quiet: true })));
      const found =
        options.published === undefined
          ? await (options.latest ? latestVersions : listVersions)(file.versions, sources)
          : publishedVersions(recipe, file.versions, await listPublished(options.published, sources.web));
      session.terminal.out(
        options.json ? `${JSON.stringify(found)}\n` : found.map((version) => `${version}\n`).join(""),
      );
    });
}

interface VersionFlags {
  readonly latest?: boolean;
  readonly published?: string;
  readonly json?: boolean;
  readonly recipes?: string;
}

const bakeExamples = `
Options that a recipe brings itself (flixwrap list --json shows them) are written as --NAME VALUE.

Examples:
  $ flixwrap bake docker 24.0.9 --without containerd
  $ flixwrap bake kubernetes latest --arch arm64 --os flatcar --checksums
  $ flixwrap bake ./my-recipe 1.2.3
  $ flixwrap bake --all release_build_versions.txt --jobs 2
`;

/** Users and state are what the recipe says, nothing is guessed that could be left away. */
const guessed = ["--no-state", "--no-users"];

/** `flixwrap bake RECIPE [VERSION]` */
export function bakeCommand(session: Session): Command {
  const rows = [
    ...bakeOptions,
    ...releaseOptions,
    ...imageOptions.slice(1),
    ...prefixOptions,
    ...extensionOptions.filter(({ flags }) => !guessed.includes(flags)),
    ...packOptions,
    ...publishOptions,
    ...checkOptions,
    ...runOptions,
    ...shellOptions,
  ];
  return newCommand("bake", rows, session.env)
    .description("Make the extension of a recipe.")
    .argument("[recipe]", "name, or a folder of one's own with a slash in it")
    .argument("[version]", "latest for the newest")
    .argument("[option...]", "the recipe's own options")
    .allowUnknownOption()
    .addHelpText("after", bakeExamples)
    .action(async (recipe: string | undefined, version: string | undefined, rest: string[], options: BakeFlags) => {
      if (options.all !== undefined) return bakeReleases(session, options.all, options);
      if (recipe === undefined)
        throw new FlixwrapError("usage", { what: "bake needs a recipe", hint: "flixwrap list shows them" });
      return bakeOne(session, recipe, ...splitOptions(version, rest), options);
    });
}

type BakeFlags = BakeOptions & {
  readonly arch?: string;
  readonly name?: string;
  readonly all?: string;
  readonly published?: string;
  readonly jobs?: number;
  readonly plan?: boolean;
  readonly matrix?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly recipes?: string;
};

const foldersOf = (more: string | undefined): string[] => [...(more === undefined ? [] : [more]), ownRecipes];

/** Words that commander does not know: the recipe's `--key value` and `--key=value`; the first other one is the version. */
function splitOptions(
  version: string | undefined,
  rest: readonly string[],
): [string | undefined, Record<string, string>] {
  const words = [...(version === undefined ? [] : [version]), ...rest];
  const choices: Record<string, string> = {};
  let found: string | undefined;
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (!word.startsWith("--")) {
      if (found !== undefined) throw new FlixwrapError("usage", { what: "one word too many", got: word });
      found = word;
      continue;
    }
    const [key, value = words[++at]] = word.slice(2).split(/=(.*)/s, 2);
    if (value === undefined) throw new FlixwrapError("usage", { what: `${word} needs a value` });
    choices[key!] = value;
  }
  return [found, choices];
}

async function bakeOne(
  session: Session,
  text: string,
  version: string | undefined,
  choices: Readonly<Record<string, string>>,
  flags: BakeFlags,
): Promise<void> {
  const { bake } = await import("../convert/bake.ts");
  const { findRecipe } = await import("../recipes/index.ts");
  const { arch, name, json = false, quiet = false, recipes, ...options } = flags;
  const recipe = findRecipe(text, foldersOf(recipes));
  if (version === undefined && recipe.file.versions !== undefined) {
    throw new FlixwrapError("usage", { what: `bake ${recipe.name} needs a version`, hint: "latest is the newest one" });
  }
  const baked = await bake(
    {
      recipe,
      architecture: arch ?? machine(),
      choices,
      options,
      ...defined({ version, name }),
    },
    session.context({ json, quiet }),
  );
  const { printShipped } = await import("./outcome.ts");
  printShipped(session.terminal, baked.plan, baked, json, {
    recipe: recipe.name,
    ...defined({ version: baked.version }),
    architecture: baked.architecture,
    unverified: baked.unverified,
  });
}

/** What a release has: planned, as a matrix for CI, or baked. */
async function bakeReleases(session: Session, file: string, flags: BakeFlags): Promise<void> {
  const { readFileSync } = await import("node:fs");
  const { bakeAll, findRecipe, listPublished, parseReleases, planMatrix, planReleases, sourcesOf } =
    await import("../recipes/index.ts");
  const { bake, openPorts } = await import("../convert/bake.ts");
  const { arch, json = false, quiet = false, jobs = 1, recipes, name: _, ...options } = flags;
  const context = session.context({ json, quiet });
  const text = readTextFile(readFileSync, file);
  const folders = foldersOf(recipes);
  const find = (name: string): Recipe => findRecipe(name, folders);
  const sources = sourcesOf(openPorts(options, context));
  const published =
    flags.published === undefined ? new Set<string>() : await listPublished(flags.published, sources.web);
  const { builds, skipped, failed } = await planReleases(parseReleases(text, file), find, sources, published);
  const architectures = arch === undefined ? undefined : [arch];
  for (const { where, error } of failed)
    context.emit({ kind: "warning", message: `${where}: ${error instanceof Error ? error.message : String(error)}` });
  if (flags.plan || flags.matrix) {
    const plan = flags.matrix
      ? planMatrix(builds, architectures)
      : builds.map(({ recipe, version }) => `${recipe.name}:${version}`);
    session.terminal.out(`${JSON.stringify(plan)}\n`);
    return failed.length > 0 ? session.finish(1) : undefined;
  }
  const results = await bakeAll(
    builds,
    { jobs, signal: session.signal, ...defined({ architectures }) },
    (build, architecture) =>
      bake(
        {
          recipe: build.recipe,
          version: build.version,
          architecture,
          choices: build.options,
          options: { ...options, imageVersion: build.version },
        },
        context,
      ),
  );
  for (const { build, architecture, result, error } of results) {
    const what = `${build.recipe.name} ${build.version} ${architecture}`;
    session.terminal.out(
      error === undefined
        ? `done    ${what}: ${result?.file?.path ?? ""}\n`
        : `failed  ${what}: ${error instanceof Error ? error.message : String(error)}\n`,
    );
  }
  if (skipped.length > 0) session.terminal.out(`skipped ${skipped.join(", ")}\n`);
  if (failed.length > 0 || results.some(({ error }) => error !== undefined)) session.finish(1);
}

function readTextFile(read: (path: string, encoding: "utf8") => string, path: string): string {
  try {
    return read(path, "utf8");
  } catch (error) {
    throw wordSystemError(error, "host-read", "cannot read the list", path);
  }
}

/** `flixwrap recipe new|check` */
export function recipeCommand(session: Session): Command {
  const make = newCommand("new", skeletonOptions, session.env)
    .description("Write a commented skeleton.")
    .argument("<folder>", "the new recipe's folder; its last part is the name")
    .action(async (folder: string, options: { readonly kind: "static" | "flix" | "flatwrap" }) => {
      const { basename, dirname } = await import("node:path");
      const { writeSkeleton } = await import("../recipes/index.ts");
      for (const path of writeSkeleton(dirname(folder), basename(folder), options.kind))
        session.terminal.out(`${path}\n`);
    });
  const check = newCommand("check", [jsonOption], session.env)
    .description("Look a recipe over without a download.")
    .argument("<recipe>", "name, or a folder with a slash in it")
    .action(async (name: string, options: { readonly json?: boolean }) => {
      const { checkRecipe, findRecipe } = await import("../recipes/index.ts");
      const findings = checkRecipe(findRecipe(name, foldersOf(undefined)));
      if (options.json) session.terminal.out(`${JSON.stringify(findings)}\n`);
      else
        for (const { severity, where, message } of findings)
          session.terminal.out(`${severity}: ${where}: ${message}\n`);
      if (findings.some(({ severity }) => severity === "error")) session.finish(1);
    });
  return new Command("recipe").description("Make and check recipes of one's own.").addCommand(make).addCommand(check);
}

/** `flixwrap index FOLDER` */
export function indexCommand(session: Session): Command {
  return newCommand("index", indexOptions, session.env)
    .description("Write checksum files and update definitions for a folder of images that a server offers.")
    .argument("<folder>", "holds NAME-VERSION-ARCH.raw files")
    .action(
      async (
        folder: string,
        options: { readonly url?: string; readonly bestBefore?: string; readonly gpgKey?: string },
      ) => {
        const { writeIndex } = await import("../convert/index-folder.ts");
        const { readCatalogue } = await import("../recipes/index.ts");
        const recipes = readCatalogue(foldersOf(undefined));
        const written = await writeIndex(folder, options, recipes, session.context({ json: false, quiet: false }));
        for (const path of written) session.terminal.out(`${path}\n`);
      },
    );
}
