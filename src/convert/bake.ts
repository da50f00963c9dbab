import { dirname, join } from "node:path";
import type { Context } from "../core/context.ts";
import type { FinishedPlan } from "../extension/finish.ts";
import { parseNotes } from "../extension/release.ts";
import { usualCacheFolder } from "../oci/cache/folder.ts";
import {
  finishRecipe,
  mergeLocks,
  openImages,
  openWeb,
  parseMirror,
  planRecipe,
  type Ports,
  readLock,
  refuseChanges,
  requireLock,
  type Recipe,
  writeLock,
} from "../recipes/index.ts";
import { readVersion } from "../host/version.ts";
import { defined } from "../core/defined.ts";
import { releaseFields } from "./release.ts";
import type { ConvertOptions } from "./request.ts";
import { checkShipping, type Shipped, shipPlan } from "./ship.ts";

/** One recipe to be baked. */
export interface BakeRequest {
  readonly recipe: Recipe;
  /** As typed, `latest` for the newest; a recipe of files alone has none. */
  readonly version?: string;
  readonly architecture: string;
  readonly name?: string;
  /** The recipe's own options. */
  readonly choices: Readonly<Record<string, string>>;
  readonly options: BakeOptions;
}

/** The options of `bake` beside the recipe's own. */
export interface BakeOptions extends ConvertOptions {
  readonly mirror?: readonly string[];
  readonly offline?: boolean;
  readonly locked?: boolean;
  readonly requireVerified?: boolean;
}

/** What came of it. */
export interface Baked extends Shipped {
  readonly plan: FinishedPlan;
  readonly version?: string;
  readonly architecture: string;
  /** `ADDRESS: reason` of what nobody vouches for. */
  readonly unverified: readonly string[];
}

/** Bakes a recipe: plan, and then what every extension goes through; the lock is written beside the image. */
export async function bake(request: BakeRequest, context: Context): Promise<Baked> {
  const { recipe, options } = request;
  const name = request.name ?? recipe.name;
  // Several versions of one recipe in one folder have a lock each, as they have an image each.
  const version = options.imageVersion === undefined ? "" : `-${options.imageVersion}`;
  const lockFile = join(dirname(options.output ?? "."), `${name}${version}.lock`);
  const ports = openPorts(options, context);
  const before = options.locked ? requireLock(lockFile) : readLock(lockFile);
  const lock = options.locked ? before : undefined;
  await checkShipping(name, options, false, context);
  const { architecture: asked, choices } = request;
  const { prefix, requireVerified } = options;
  const rest = defined({ version: request.version, name: request.name, prefix, lock, requireVerified });
  const planned = await planRecipe({ recipe, architecture: asked, options: choices, ...rest }, ports);
  try {
    refuseChanges(before, planned.lock);
    for (const line of planned.unverified) context.emit({ kind: "warning", message: `not verified: ${line}` });
    const architecture = planned.architecture.systemd;
    const { enable, upholds, stopOnUnmerge, papers, epoch, releaseField } = options;
    const plan = finishRecipe(planned, {
      tool: readVersion(),
      release: {
        ...releaseFields(options),
        // Without the option the recipe decides.
        ...defined({ reload: options.reload || undefined, notes: releaseField && parseNotes(releaseField) }),
      },
      ...defined({ enable, upholds, stopOnUnmerge, papers, epoch }),
    });
    const shipped = await shipPlan(plan, { name: planned.name, architecture }, options, context);
    if (shipped.file !== undefined && options.locked !== true)
      writeLock(lockFile, mergeLocks(readLock(lockFile), planned.lock));
    return { plan, architecture, unverified: planned.unverified, ...defined({ version: planned.version }), ...shipped };
  } finally {
    planned.close();
  }
}

/** The engine's ways to the world, for baking and for asking after versions. */
export function openPorts(options: BakeOptions, context: Context): Ports {
  const cache = join(options.cacheDir ?? usualCacheFolder(context.env), "downloads");
  const mirrors = (options.mirror ?? []).map(parseMirror);
  const { creds, cacheDir, offline } = options;
  return {
    context,
    cache,
    web: openWeb({ cache, mirrors, offline: offline ?? false }, context),
    images: openImages({ context, ...defined({ creds, cacheDir, offline }) }),
  };
}
