import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { signFile } from "../pack/publish.ts";
import { hashFile, writeWhole } from "../recipes/cached-files.ts";
import { parseImageName, planIndex, type Published } from "../recipes/index.ts";
import { defined } from "./defined.ts";

/**
 * Writes the index files of a folder whose images lie in it or in folders named after the extensions; gives the paths
 * written. @throws FlixwrapError `recipe-index` when there is no image, `host-tool-missing` for gpg.
 */
export async function writeIndex(
  folder: string,
  options: { readonly url?: string; readonly bestBefore?: string; readonly gpgKey?: string },
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
  const index = planIndex(published, { ...defined({ url, bestBefore }), signed: gpgKey !== undefined });
  const written: string[] = [];
  for (const [name, text] of index) {
    const path = join(folder, name);
    writeWhole(path, text);
    written.push(path);
    if (gpgKey !== undefined && name.endsWith("SHA256SUMS")) written.push(await signFile(path, gpgKey, context));
  }
  return written;
}

function listImages(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .flatMap((entry) =>
        entry.isDirectory()
          ? readdirSync(join(folder, entry.name)).map((file) => join(entry.name, file))
          : [entry.name],
      )
      .filter((file) => parseImageName(file.slice(file.lastIndexOf("/") + 1)) !== undefined)
      .toSorted();
  } catch (error) {
    const got = (error as NodeJS.ErrnoException).code ?? "an error";
    throw new FlixwrapError("recipe-index", { what: "cannot read the folder", where: folder, got }, { cause: error });
  }
}
