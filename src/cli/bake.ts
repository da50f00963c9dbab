import { arch as machine } from "node:os";
import type { Command } from "commander";
import type { Baked, BakeOptions } from "../convert/bake.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { wordSystemError } from "../host/system-error.ts";
import type { Build, BuildResult, Recipe } from "../recipes/index.ts";
import { newCommand } from "./option-row.ts";
import {
  bakeOptions,
  checkOptions,
  extensionOptions,
  imageOptions,
  packOptions,
  prefixOptions,
  publishOptions,
  releaseOptions,
  runOptions,
  shellOptions,
} from "./options.ts";
import type { Session } from "./program.ts";
import { recipeFolders } from "./recipe-folders.ts";

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
  const recipe = findRecipe(text, recipeFolders(recipes));
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
  const { bakeAll, findRecipe, listPublished, parseReleases, planMatrix, planReleases, sourcesOf } =
    await import("../recipes/index.ts");
  const { bake, openPorts } = await import("../convert/bake.ts");
  const { arch, json = false, quiet = false, jobs = 1, recipes, name: _, ...options } = flags;
  const context = session.context({ json, quiet });
  const wanted = parseReleases(await readList(file), file);
  const folders = recipeFolders(recipes);
  const sources = sourcesOf(openPorts(options, context));
  const published =
    flags.published === undefined ? new Set<string>() : await listPublished(flags.published, sources.web);
  const { builds, skipped, failed } = await planReleases(
    wanted,
    (name): Recipe => findRecipe(name, folders),
    sources,
    published,
  );
  for (const { where, error } of failed) context.emit({ kind: "warning", message: `${where}: ${messageOf(error)}` });
  const architectures = arch === undefined ? undefined : [arch];
  if (flags.plan || flags.matrix) {
    const plan = flags.matrix
      ? planMatrix(builds, architectures)
      : builds.map(({ recipe, version }) => `${recipe.name}:${version}`);
    session.terminal.out(`${JSON.stringify(plan)}\n`);
    return failed.length > 0 ? session.finish(1) : undefined;
  }
  const bakeBuild = ({ recipe, version, options: choices }: Build, architecture: string): Promise<Baked> =>
    bake({ recipe, version, architecture, choices, options: { ...options, imageVersion: version } }, context);
  const results = await bakeAll(builds, { jobs, signal: session.signal, ...defined({ architectures }) }, bakeBuild);
  const { out } = session.terminal;
  for (const result of results) out(`${json ? JSON.stringify(describeResult(result)) : wordResult(result)}\n`);
  if (json) for (const release of skipped) out(`${JSON.stringify({ status: "skipped", release })}\n`);
  else if (skipped.length > 0) out(`skipped ${skipped.join(", ")}\n`);
  if (failed.length > 0 || results.some(({ error }) => error !== undefined)) session.finish(1);
}

function wordResult({ build, architecture, result, error }: BuildResult<Baked>): string {
  const what = `${build.recipe.name} ${build.version} ${architecture}`;
  return error === undefined ? `done    ${what}: ${result?.file?.path ?? ""}` : `failed  ${what}: ${messageOf(error)}`;
}

/** The same as data: what a bake of one tells, or why there is none. */
function describeResult({ build, architecture, result, error }: BuildResult<Baked>): object {
  const of = { recipe: build.recipe.name, version: build.version, architecture };
  if (error === undefined)
    return {
      status: "done",
      ...of,
      ...defined({
        unverified: result?.unverified,
        warnings: result && [...result.plan.warnings, ...result.findings],
        file: result?.file,
      }),
      beside: result?.beside ?? [],
    };
  const facts = error instanceof FlixwrapError ? { code: error.code, ...error.facts } : { what: String(error) };
  return { status: "failed", ...of, error: facts };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function readList(path: string): Promise<string> {
  const { readFileSync } = await import("node:fs");
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw wordSystemError(error, "host-read", "cannot read the list", path);
  }
}
