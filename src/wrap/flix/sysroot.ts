import { baseName, type ExtPath, join, parentOf, type RootPath } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";

/**
 * The private folder `PREFIX/NAME`, in which the root's own paths are mirrored, so that `$ORIGIN` and relative
 * lookups keep their meaning. Links between folders (`/lib -> usr/lib`) are not mirrored: a path is placed by
 * the real path of its folder, and only links at its end become links.
 */
export interface Sysroot {
  readonly folder: ExtPath;
  /** Where a real path of the root is mirrored. */
  mirror(path: RootPath): ExtPath;
  /** Where a path is mirrored that may lead through links of the root. */
  mirrorFound(path: RootPath): ExtPath;
}

/** The sysroot in `folder` of the extension. */
export function sysrootAt(folder: ExtPath, rootfs: Rootfs): Sysroot {
  const mirror = (path: RootPath): ExtPath => join(folder, path);
  return {
    folder,
    mirror,
    mirrorFound: (path) => join(mirror(rootfs.resolve(parentOf(path))?.path ?? parentOf(path)), baseName(path)),
  };
}
