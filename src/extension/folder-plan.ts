import { type ExtPath, extPath, rootPath } from "../core/paths.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import type { Action, Plan } from "./plan.ts";
import { releaseFolder } from "./release.ts";
import { hierarchies } from "./tree.ts";

/**
 * A folder that somebody laid out as an extension, as a plan: everything in its /usr and /opt, with its own
 * attributes. What else is in it cannot be part of an extension and is named in a warning; its extension-release
 * is written anew.
 */
export function planFolder(root: Rootfs): Plan {
  const { actions } = planWhole(root);
  const left = root
    .list(rootPath("/"))
    .map((name) => extPath(name))
    .filter((path) => !hierarchies.some((top) => top === path));
  const warnings = left.length === 0 ? [] : [`left out, since only /usr and /opt are merged: ${left.join(", ")}`];
  const own = actions.filter(({ to }) => !to.startsWith(`${releaseFolder}/`));
  return { source: root, actions: own, warnings };
}

/** Everything in an extension's /usr and /opt as it is, its extension-release included. */
export function planWhole(root: Rootfs): Plan {
  const nodes = hierarchies.flatMap((top) => Array.from(root.walk(rootPath(top))));
  const actions = nodes.map((from): Action => ({
    kind: "copy",
    from,
    to: from.path as string as ExtPath,
    why: "in the folder",
  }));
  return { source: root, actions, warnings: [] };
}
