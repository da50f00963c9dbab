import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { releaseFolder } from "../extension/release.ts";
import type { OpenedExtension } from "./open.ts";

/**
 * The name in extension-release: what a file is called while it is published is another matter.
 * @throws FlixwrapError `pack-no-image`.
 */
export function releaseName({ rootfs, path }: OpenedExtension): string {
  const start = "extension-release.";
  const name = rootfs.list(rootPath(releaseFolder)).find((file) => file.startsWith(start));
  if (name === undefined)
    throw new FlixwrapError("pack-no-image", { what: "no extension: it has no extension-release", where: path });
  return name.slice(start.length);
}
