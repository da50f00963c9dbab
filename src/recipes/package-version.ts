import { FlixwrapError } from "../core/errors.ts";
import { listPackages } from "../extension/packages/read.ts";
import type { Rootfs } from "../oci/rootfs.ts";

/**
 * Refuses a root whose package is another version than the one that was asked for. Distributions append their
 * own revision (`1.4.0-r0`, `1:1.1.3-1+b1`).
 * @throws FlixwrapError `recipe-package`
 */
export function requirePackage(root: Rootfs, name: string, version: string): void {
  const installed = listPackages(root).find(({ one }) => one.name === name)?.one.version;
  const upstream = installed?.replace(/^\d+:/, "").replace(/[-+~].*$/, "");
  const wanted = version.replace(/^v(?=\d)/, "");
  if (installed !== undefined && (upstream === wanted || installed === wanted)) return;
  throw new FlixwrapError("recipe-package", {
    what: `the image has another version of ${name} than the one asked for`,
    where: root.description,
    got: installed ?? "none",
    wanted: version,
    hint: "a distribution keeps one version; bake that one or use an image of another release",
  });
}
