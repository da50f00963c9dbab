/** The recipe room's door: what the command line and library callers use. */
export { type CatalogueRow, describeRecipe, readCatalogue } from "./catalogue.ts";
export { checkRecipe, type RecipeFinding } from "./check.ts";
export { finishRecipe, type FinishRecipeOptions } from "./finish.ts";
export type { ImageRequest, Images, OpenedImage } from "./images.ts";
export { type ImageName, parseImageName, planIndex, type Published } from "./index-files.ts";
export { type Lock, mergeLocks, readLock, refuseChanges, requireLock, writeLock } from "./lock.ts";
export { type Mirror, parseMirror } from "./mirrors.ts";
export { openImages } from "./open-images.ts";
export { type PlannedRecipe, planRecipe, type Ports, type RecipeRequest, sourcesOf } from "./plan.ts";
export { findRecipe, type Recipe } from "./recipe.ts";
export { parseReleases } from "./release-list.ts";
export { bakeAll, type Build, type BuildResult, type Matrix, planMatrix, planReleases } from "./releases.ts";
export { type SkeletonKind, writeSkeleton } from "./skeleton.ts";
export { latestVersions, listPublished, listVersions, publishedVersions } from "./versions.ts";
export { openWeb, type Web, type WebOptions } from "./web.ts";
