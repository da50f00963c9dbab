import { baseName, isWithin, type RootPath } from "../../core/paths.ts";
import { type Closure, findPluginFolders } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Selection } from "./selection.ts";

/**
 * One line per plug-in folder that a program of the closure hardly does without, and that nothing is taken from: its
 * path is compiled in, so it serves only at its own place.
 */
export function warnOfPlugins(rootfs: Rootfs, closure: Closure, selection: Selection): readonly string[] {
  const taken = [...closure.objects, ...selection.files].map(({ node }) => node.path);
  const told: RootPath[] = [];
  return findPluginFolders(rootfs, closure, "likely").flatMap(({ object, folder, why, libraries }) => {
    const real = rootfs.resolve(folder)?.path ?? folder;
    // Who takes one plug-in knows of the others; a folder above tells those below.
    if (taken.some((path) => isWithin(path, real)) || told.some((above) => isWithin(real, above))) return [];
    told.push(real);
    const count = libraries.length === 1 ? "a plug-in" : `${libraries.length} plug-ins`;
    // An extension has /usr and /opt alone, and on its hosts /lib is a link to /usr/lib.
    const entry = /^\/(usr|opt)\//.test(real) ? real : `${real}:/usr${real}`;
    return [
      `${real} is not taken, with ${count} for ${baseName(object)}: ${why}; add the PATH ${entry}, or use flatwrap`,
    ];
  });
}
