import { type FinishedPlan, type FinishOptions, finishPlan } from "../extension/finish.ts";
import { parseName, type Release } from "../extension/release.ts";
import { expandHostLibraries } from "./host-libraries.ts";
import type { PlannedRecipe } from "./plan.ts";

/** What a recipe leaves to whoever bakes it. */
export interface FinishRecipeOptions extends Pick<
  FinishOptions,
  "enable" | "upholds" | "stopOnUnmerge" | "papers" | "epoch"
> {
  /** flixwrap's version. */
  readonly tool: string;
  /** More fields of extension-release; what the recipe decides comes first. */
  readonly release?: Omit<Release, "name" | "architecture">;
}

/**
 * A planned recipe as a whole extension: extension-release, papers. Users, state and units are the recipe's own,
 * so nothing is guessed for them; a recipe without any ELF file fits every architecture all the same as named.
 */
export function finishRecipe(planned: PlannedRecipe, options: FinishRecipeOptions): FinishedPlan {
  const { plan, architecture, recipe, version } = planned;
  const { tool, release, ...finish } = options;
  const image = planned.lock.architectures[architecture.systemd]?.find((one) => !one.source.includes("://"));
  const hostLibraries = expandHostLibraries(recipe.file.hostLibraries, architecture);
  return finishPlan(plan, {
    ...finish,
    release: {
      reload: planned.reload,
      ...release,
      name: parseName(planned.name),
      architecture: architecture.systemd,
    },
    users: false,
    state: false,
    manifest: {
      flixwrap: tool,
      converter: version === undefined ? recipe.name : `${recipe.name} ${version}`,
      ...(image !== undefined && { image: image.source, digest: image.digest }),
      ...(hostLibraries.length > 0 && { hostLibraries }),
    },
  });
}
