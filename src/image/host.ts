import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { openFolder } from "../oci/folder-rootfs.ts";
import type { Rootfs } from "../oci/rootfs.ts";

/**
 * A host's root folder, as `--host` names it.
 * @throws FlixwrapError `oci-no-folder`; `host-no-root` for a folder without `usr`, against which everything would pass.
 */
export function openHost(path: string, context: Context): Rootfs {
  const host = openFolder(path, context);
  if (host.resolve(rootPath("/usr"))?.type !== "directory")
    throw new FlixwrapError("host-no-root", { what: "no host's root folder", where: path, wanted: "one that has usr" });
  return host;
}
