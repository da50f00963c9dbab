import { existsSync, linkSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { wordSystemError } from "../host/system-error.ts";
import { noopTransfer } from "../extension/publish/sysupdate.ts";
import { checkKey, signFile } from "../pack/publish.ts";
import { hashFile, writeWhole } from "../recipes/cached-files.ts";
import { parseImageName, planIndex, type Published, type Recipe } from "../recipes/index.ts";
import { defined } from "../core/defined.ts";

/**
 * Writes the index files of a folder whose images lie in it or in folders named after the extensions; gives the paths
 * written. @throws FlixwrapError `recipe-index` when there is no image, `host-index-folder`, `pack-gpg-key`, `host-tool-missing` for gpg.
 */
export async function writeIndex(
  folder: string,
  options: { readonly url?: string; readonly bestBefore?: string; readonly gpgKey?: string },
  recipes: readonly Recipe[],
  context: Context,
): Promise<readonly string[]> {
  const files = listImages(folder);
  if (files.length === 0) {
    throw new FlixwrapError("recipe-index", {
      what: "no image to index",
      where: folder,
      wanted: "NAME-VERSION-ARCH.raw",
    });
  }
  const published: Published[] = [];
  for (const file of files) published.push({ file, sha256: await hashFile(join(folder, file), "sha256") });
  const { url, bestBefore, gpgKey } = options;
  const signed = gpgKey !== undefined;
  const index = planIndex(published, { ...defined({ url, bestBefore }), branches: branchesOf(recipes), signed });
  if (gpgKey !== undefined) await checkKey(gpgKey, context);
  if (url !== undefined) index.set(noopTransfer.name, noopTransfer.text);
  try {
    const written = placeImages(folder, files);
    for (const [name, text] of index) {
      const path = join(folder, name);
      writeWhole(path, text);
      written.push(path);
      if (gpgKey !== undefined && name.endsWith("SHA256SUMS")) written.push(await signFile(path, gpgKey, context));
    }
    return written;
  } catch (error) {
    throw wordSystemError(error, "host-index-folder", "cannot write the index", folder);
  }
}

/** The update definitions look for images in `NAME/`; those beside it get a second name there. */
function placeImages(folder: string, files: readonly string[]): string[] {
  return files
    .filter((file) => !file.includes("/"))
    .flatMap((file) => {
      const goal = join(folder, parseImageName(file)!.name, file);
      // With `recursive`, node calls a file system that is read-only "no such file or folder".
      if (!existsSync(dirname(goal))) mkdirSync(dirname(goal));
      rmSync(goal, { force: true });
      linkSync(join(folder, file), goal);
      return [goal];
    });
}

/** Recipes whose versions have branches that hosts may want to stay on. */
function branchesOf(recipes: readonly Recipe[]): Map<string, "major" | "minor"> {
  return new Map(
    recipes.flatMap(({ name, file }) => {
      const branch = file.sysupdate?.branch;
      return branch === undefined ? [] : [[name, branch] as const];
    }),
  );
}

function listImages(folder: string): string[] {
  try {
    return (
      readdirSync(folder, { withFileTypes: true })
        .flatMap((entry) =>
          entry.isDirectory()
            ? readdirSync(join(folder, entry.name)).map((file) => join(entry.name, file))
            : [entry.name],
        )
        .filter((file) => parseImageName(file.slice(file.lastIndexOf("/") + 1)) !== undefined)
        // What an earlier index placed is the same file.
        .filter((file, _, all) => !file.includes("/") || !all.includes(file.slice(file.lastIndexOf("/") + 1)))
        .toSorted()
    );
  } catch (error) {
    throw wordSystemError(error, "host-index-folder", "cannot read the folder", folder);
  }
}
