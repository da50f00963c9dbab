import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { FinishedPlan } from "../extension/finish.ts";
import { parseName, type Release } from "../extension/release.ts";
import type { OpenOptions } from "../oci/image.ts";
import { finishRecipe } from "./finish.ts";
import { type Lock, mergeLocks, readLock, writeLock } from "./lock.ts";
import { parseMirror } from "./mirrors.ts";
import { openImages } from "./open-images.ts";
import { type PlannedRecipe, planRecipe, type Ports } from "./plan.ts";
import { findRecipe } from "./recipe.ts";
import type { OptionValues } from "./values.ts";
import { openWeb } from "./web.ts";

/** The recipes that come with flixwrap: `recipes/` stands one folder above both `src` and `dist`. */
export const shippedRecipes = fileURLToPath(new URL("../../recipes", import.meta.url));

/** How the world is reached; the same for every command about recipes. */
export interface ReachOptions extends Omit<OpenOptions, "platform" | "context" | "cacheDir"> {
  /** Downloads are kept in `downloads/` below it, layers beside that. */
  readonly cacheDir: string;
  /** `FROM=TO`, several. */
  readonly mirror?: readonly string[];
  readonly offline?: boolean;
}

/** The engine's ports for some options. @throws FlixwrapError `usage` for a mirror that cannot be read */
export function openPorts({ cacheDir, mirror = [], offline, ...registry }: ReachOptions, context: Context): Ports {
  const cache = join(cacheDir, "downloads");
  return {
    context,
    cache,
    web: openWeb({ cache, mirrors: mirror.map(parseMirror), offline: offline ?? false }, context),
    images: openImages({ ...registry, context, cacheDir }),
  };
}

/** The names are those of `flixwrap bake`'s options. */
export interface BakeOptions {
  /** Folders of recipes, the first that has a name counts; {@link shippedRecipes} comes last by itself. */
  readonly recipes?: readonly string[];
  /** In any usual spelling. */
  readonly arch: string;
  readonly name?: string;
  /** The recipe's own options. */
  readonly options?: OptionValues;
  /** Take exactly what the lock names. */
  readonly locked?: boolean;
  /** Where the lock is; `NAME.lock` when not given, null for none. */
  readonly lockFile?: string | null;
  readonly requireVerified?: boolean;
  /** Folder for the private files of converted programs. */
  readonly prefix?: string;
  /** flixwrap's version, for the papers. */
  readonly tool: string;
  readonly release?: Omit<Release, "name" | "architecture">;
  readonly command?: readonly string[];
  /** Seconds since 1970. */
  readonly epoch?: number;
}

/**
 * From a recipe's name (or folder) and a version to a finished plan that `pack` makes a file of; the lock is written
 * when that is done. What a lock beside it knows of the same bake must still be true.
 * @throws FlixwrapError of the steps, `recipe-locked`, `recipe-upstream-changed`; no lock is written then
 */
export async function bakeRecipe<T>(
  recipe: string,
  version: string | undefined,
  options: BakeOptions,
  ports: Ports,
  pack: (plan: FinishedPlan, planned: PlannedRecipe) => Promise<T>,
): Promise<T> {
  const found = findRecipe(recipe, [...(options.recipes ?? []), shippedRecipes]);
  const name = parseName(options.name ?? found.name);
  const lockFile = options.lockFile === undefined ? `${name}.lock` : (options.lockFile ?? undefined);
  const before = lockFile === undefined ? undefined : readLock(lockFile);
  if (options.locked === true && before === undefined) {
    throw new FlixwrapError("recipe-locked", {
      what: "there is no lock",
      where: lockFile ?? "--no-lock",
      hint: "bake once without --locked",
    });
  }
  const { arch, options: own, requireVerified, prefix } = options;
  const planned = await planRecipe(
    {
      recipe: found,
      architecture: arch,
      name,
      ...(version !== undefined && { version }),
      ...(own !== undefined && { options: own }),
      ...(requireVerified !== undefined && { requireVerified }),
      ...(prefix !== undefined && { prefix }),
      ...(options.locked === true && { lock: before! }),
    },
    ports,
  );
  try {
    if (before !== undefined) refuseChanges(before, planned.lock);
    const result = await pack(finishRecipe(planned, options), planned);
    if (lockFile !== undefined) writeLock(lockFile, mergeLocks(before, planned.lock));
    return result;
  } finally {
    planned.close();
  }
}

/** A version's files never change: what was locked once must be what comes now. A command's result may. */
function refuseChanges(before: Lock, now: Lock): void {
  if (before.recipe !== now.recipe || before.version !== now.version) return;
  const known = new Map(
    Object.values(before.architectures)
      .flat()
      .map((row) => [row.source, row.digest]),
  );
  const changed = Object.values(now.architectures)
    .flat()
    .filter((row) => row.source.includes("://") && known.has(row.source) && known.get(row.source) !== row.digest);
  if (changed.length === 0) return;
  throw new FlixwrapError("recipe-upstream-changed", {
    what: "upstream's files have changed under the same version since the lock was made",
    hint: "ask upstream why; if the change is right, delete the lock",
    items: changed.map((row) => `${row.source}: ${known.get(row.source)} before, ${row.digest} now`),
  });
}
