import { findArchitecture } from "../core/architectures.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import type { Recipe } from "./recipe.ts";
import type { WantedRelease } from "./release-list.ts";
import { architecturesOf } from "./values.ts";
import { latestVersions, spellVersion, type VersionSources } from "./versions.ts";

/** One extension to bake. */
export interface Build {
  readonly recipe: Recipe;
  readonly version: string;
  readonly options: Readonly<Record<string, string>>;
}

/** What is to be baked of a list, and what is not. */
export interface PlannedReleases {
  readonly builds: readonly Build[];
  /** Left out because they are published. */
  readonly skipped: readonly string[];
  /** Lines that could not be worked out; the others are not stopped by them. */
  readonly failed: readonly { readonly where: string; readonly error: unknown }[];
}

/**
 * Every build of a list once: `latest` becomes the newest version of each branch that the recipe maintains, and
 * what is in `published` (`NAME-VERSION`) is left out.
 */
export async function planReleases(
  wanted: readonly WantedRelease[],
  find: (name: string) => Recipe,
  sources: VersionSources,
  published: ReadonlySet<string> = new Set(),
): Promise<PlannedReleases> {
  const builds = new Map<string, Build>();
  const skipped: string[] = [];
  const failed: { where: string; error: unknown }[] = [];
  for (const line of wanted) {
    try {
      const recipe = find(line.name);
      for (const version of await versionsFor(recipe, line.version, sources)) {
        const options = line.options ?? {};
        const key = `${recipe.name}-${version}`;
        if (published.has(key)) skipped.push(key);
        else builds.set(JSON.stringify([key, options]), { recipe, version, options });
      }
    } catch (error) {
      failed.push({ where: line.where, error });
    }
  }
  return { builds: [...builds.values()], skipped: [...new Set(skipped)], failed };
}

async function versionsFor(
  { file, name }: Recipe,
  version: string,
  sources: VersionSources,
): Promise<readonly string[]> {
  if (file.versions === undefined) return [version];
  if (version === "latest") return latestVersions(file.versions, sources);
  const spelt = spellVersion(version, file.versions);
  if (spelt !== undefined) return [spelt];
  throw new FlixwrapError("recipe-unknown-version", {
    what: `${name} has no version ${version}`,
    wanted: file.versions.prefix + file.versions.pattern,
  });
}

/** A GitHub Actions matrix: one job for each extension, version and architecture. */
export interface Matrix {
  readonly include: readonly {
    readonly name: string;
    readonly version: string;
    readonly arch: string;
    readonly runner: string;
  }[];
}

/** GitHub allows 256 jobs of one matrix; what does not fit is left for the next run. */
const mostJobs = 256;

/** A recipe's architectures, or those of them that are asked for in any usual spelling. */
function chooseArchitectures({ file }: Recipe, asked: readonly string[] | undefined): string[] {
  const wanted = asked?.map((name) => {
    const row = findArchitecture(name);
    if (row === undefined) throw new FlixwrapError("usage", { what: "unknown architecture", got: name });
    return row.systemd;
  });
  return architecturesOf(file).filter((one) => wanted === undefined || wanted.includes(one));
}

/** The matrix of some builds, for `strategy.matrix: ${{ fromJSON(…) }}`. */
export function planMatrix(builds: readonly Build[], architectures?: readonly string[]): Matrix {
  const jobs = builds.flatMap(({ recipe, version }) =>
    chooseArchitectures(recipe, architectures).map((arch) => ({
      name: recipe.name,
      version,
      arch,
      runner: arch === "arm64" ? "ubuntu-24.04-arm" : "ubuntu-24.04",
    })),
  );
  return { include: jobs.slice(0, mostJobs) };
}

/** What became of one build on one architecture. */
export interface BuildResult<T> {
  readonly build: Build;
  readonly architecture: string;
  readonly result?: T;
  readonly error?: unknown;
}

/**
 * Bakes everything, some at a time; one failure stops no other. Results come in the order of the builds.
 * @param bake makes one extension: the command line's own way from recipe to file.
 */
export async function bakeAll<T>(
  builds: readonly Build[],
  options: { readonly jobs: number; readonly architectures?: readonly string[]; readonly signal: AbortSignal },
  bake: (build: Build, architecture: string) => Promise<T>,
): Promise<BuildResult<T>[]> {
  const jobs = builds.flatMap((build) =>
    chooseArchitectures(build.recipe, options.architectures).map((architecture) => ({ build, architecture })),
  );
  const results: BuildResult<T>[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < jobs.length; at = next++) {
      const job = jobs[at]!;
      if (options.signal.aborted) throw interrupted();
      try {
        results[at] = { ...job, result: await bake(job.build, job.architecture) };
      } catch (error) {
        if (options.signal.aborted) throw error;
        results[at] = { ...job, error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(options.jobs, jobs.length)) }, work));
  return results;
}
