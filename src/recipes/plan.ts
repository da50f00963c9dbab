import { type Architecture } from "../core/architectures.ts";
import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { Plan } from "../extension/plan.ts";
import { holds } from "./condition.ts";
import type { Images } from "./images.ts";
import { joinPlans } from "./join.ts";
import type { Lock } from "./lock.ts";
import { dropFiles, planEnabled, planOwn, planOwnSetup, shipsUnits } from "./own-files.ts";
import { planPart, type Work } from "./parts.ts";
import type { Recipe } from "./recipe.ts";
import { addVariables, baseValues, type OptionValues, pickArchitecture, readOptions } from "./values.ts";
import { latestVersions, refuseVersion, spellVersion, type VersionSources } from "./versions.ts";
import type { Web } from "./web.ts";

/** What the engine reaches the world through. */
export interface Ports {
  readonly web: Web;
  readonly images?: Images;
  readonly context: Context;
  /** Folder of the download cache; uncompressed copies go there too. */
  readonly cache: string;
}

/** Which extension is made of which recipe. */
export interface RecipeRequest {
  readonly recipe: Recipe;
  /** As typed; `latest` for the newest. Not needed by a recipe of files alone. */
  readonly version?: string;
  /** In any usual spelling. */
  readonly architecture: string;
  readonly options?: OptionValues;
  /** The extension's name; the recipe's when absent. */
  readonly name?: string;
  /** Take exactly what the lock names. */
  readonly lock?: Lock;
  /** Refuse what nobody vouches for. */
  readonly requireVerified?: boolean;
  /** Folder for the private files of converted programs. */
  readonly prefix?: string;
}

/** A recipe worked out for one version and architecture: everything that finish and packer need. */
export interface PlannedRecipe {
  readonly recipe: Recipe;
  readonly name: string;
  /** In the recipe's spelling; undefined for a recipe of files alone. */
  readonly version?: string;
  readonly architecture: Architecture;
  readonly options: OptionValues;
  /** Everything the recipe ships, the drop-ins that enable its units included. */
  readonly plan: Plan;
  /** Whether systemd has to be reloaded after the merge: the recipe's word, else whether units are shipped. */
  readonly reload: boolean;
  readonly lock: Lock;
  /** `ADDRESS: reason` of everything that could not be checked. */
  readonly unverified: readonly string[];
  /** Closes what the plans read from; after the packing. */
  close(): void;
}

/** Where versions come from, for {@link listVersions}. */
export function sourcesOf({ web, images }: Pick<Ports, "web" | "images">): VersionSources {
  const { printed } = images ?? {};
  return { web, ...defined({ printed }) };
}

/** Works out what to ship. Nothing is written but the cache. */
export async function planRecipe(request: RecipeRequest, ports: Ports): Promise<PlannedRecipe> {
  const { recipe } = request;
  const { file } = recipe;
  const architecture = pickArchitecture(file, request.architecture, recipe.name);
  const sources = sourcesOf(ports);
  const version = await pickVersion(request, sources);
  checkLock(request, version);
  const options = await readOptions(file, { ...request.lock?.options, ...request.options }, ports.context.env, sources);
  const base = baseValues(file, recipe.name, version ?? "", architecture);
  const values = await addVariables(file, { ...options, ...base }, sources);

  const work: Work = { request, ports, architecture, values, sources, locked: [], unverified: [], open: [] };
  const close = (): void => work.open.splice(0).forEach((one) => one.close());
  try {
    const plans: Plan[] = [];
    for (const part of file.parts ?? []) if (holds(part.when, values)) plans.push(...(await planPart(part, work)));
    plans.push(...planOwn(recipe, values));
    const joined = joinPlans(dropFiles(plans, file, values), `${recipe.name} ${version ?? ""}`.trim());
    const plan = {
      ...joined,
      actions: [...joined.actions, ...planEnabled(joined, file, values), ...planOwnSetup(joined, recipe.name)],
    };
    return {
      recipe,
      name: request.name ?? recipe.name,
      ...defined({ version }),
      architecture,
      options,
      plan,
      reload: file.reload ?? shipsUnits(plan),
      lock: {
        lock: 1,
        recipe: recipe.name,
        version: version ?? "",
        options,
        values: Object.fromEntries(Object.keys(file.variables ?? {}).map((name) => [name, values[name]!])),
        architectures: { [architecture.systemd]: work.locked },
      },
      unverified: work.unverified,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function pickVersion(
  { recipe, version, lock }: RecipeRequest,
  sources: VersionSources,
): Promise<string | undefined> {
  const rules = recipe.file.versions;
  if (rules === undefined) return version;
  const wanted = version ?? lock?.version;
  if (wanted === undefined) {
    throw new FlixwrapError("usage", {
      what: "which version?",
      where: recipe.name,
      hint: `flixwrap versions ${recipe.name} lists them; latest takes the newest`,
    });
  }
  if (wanted === "latest") return (await latestVersions(rules, sources))[0];
  return spellVersion(wanted, rules) ?? refuseVersion(recipe.name, rules, wanted, sources);
}

function checkLock({ lock, recipe, options }: RecipeRequest, version: string | undefined): void {
  if (lock === undefined) return;
  if (lock.recipe !== recipe.name || lock.version !== (version ?? "")) {
    throw new FlixwrapError("recipe-locked", {
      what: "the lock is for something else",
      got: `${lock.recipe} ${lock.version}`,
      wanted: `${recipe.name} ${version ?? ""}`,
    });
  }
  const other = Object.entries(options ?? {}).find(([name, value]) => lock.options[name] !== value);
  if (other !== undefined) {
    throw new FlixwrapError("recipe-locked", {
      what: `the lock was made with another --${other[0]}`,
      got: other[1],
      wanted: lock.options[other[0]] || "none",
    });
  }
}
