import { FlixwrapError } from "../core/errors.ts";
import { baseName, extPath, parentOf } from "../core/paths.ts";
import type { Action, Plan } from "../extension/plan.ts";
import { planSetup } from "../extension/host-files/setup.ts";
import { planEnable } from "../extension/units/enable.ts";
import { parseUnit, type UnitFile } from "../extension/units/unit-file.ts";
import { compilePathGlob } from "../loader/path-glob.ts";
import { openFolder } from "../oci/folder-rootfs.ts";
import { memoryRootfs } from "../oci/memory-rootfs.ts";
import { holds } from "./condition.ts";
import type { RecipeFile } from "./format.ts";
import { placeFiles } from "./place.ts";
import type { Recipe } from "./recipe.ts";
import { fillTemplate, type Values } from "./template.ts";

/** The recipe's own `files/`, links and texts. */
export function planOwn({ file, overlay }: Recipe, values: Values): Plan[] {
  const plans: Plan[] = [];
  if (overlay !== undefined) {
    const root = openFolder(overlay);
    const everything = { from: "**", to: "/", except: [], optional: true, replace: {} };
    const actions = placeFiles(root, [everything], values).map((action) =>
      // What git keeps of a mode is whether a file can be run.
      action.kind === "copy"
        ? { ...action, from: { ...action.from, mode: (action.from.mode & 0o111) === 0 ? 0o644 : 0o755 } }
        : action,
    );
    plans.push({ source: root, actions, warnings: [] });
  }
  const links = Object.entries(file.links ?? {}).map(([to, target]): Action => ({
    kind: "symlink",
    to: extPath(fillTemplate(to, values, "links")),
    target: fillTemplate(target, values, "links"),
    why: "a link of the recipe",
  }));
  const texts = Object.entries(file.text ?? {}).map(([to, text]): Action => ({
    kind: "write",
    to: extPath(fillTemplate(to, values, "text")),
    content: Buffer.from(fillTemplate(text, values, "text")),
    mode: 0o644,
    why: "a text of the recipe",
  }));
  if (links.length + texts.length > 0)
    plans.push({ source: memoryRootfs({}), actions: [...links, ...texts], warnings: [] });
  return plans;
}

/** @throws FlixwrapError `recipe-drop` for a pattern that takes nothing: upstream's layout has changed */
export function dropFiles(plans: readonly Plan[], file: RecipeFile, values: Values): Plan[] {
  const patterns = (file.drop ?? [])
    .filter((one) => holds(one.when, values))
    .flatMap((one) => one.paths)
    .map((path) => ({ path, matches: compilePathGlob(fillTemplate(path, values, "drop")), used: false }));
  const kept = plans.map((plan) => ({
    ...plan,
    actions: plan.actions.filter((action) => {
      const hits = patterns.filter(({ matches }) => matches(action.to));
      for (const hit of hits) hit.used = true;
      return hits.length === 0;
    }),
  }));
  const unused = patterns.filter(({ used }) => !used).map(({ path }) => path);
  if (unused.length === 0) return kept;
  throw new FlixwrapError("recipe-drop", {
    what: "nothing to drop",
    where: unused.join(", "),
    hint: "the files are no longer where the recipe thinks",
  });
}

/** Where systemd looks for units below /usr (systemd.unit(5)). */
const unitFolders: ReadonlySet<string> = new Set(["/usr/lib/systemd/system", "/usr/local/lib/systemd/system"]);

/** A unit is a page of text. In bytes. */
const largestUnit = 1 << 20;

/** Whether the plan ships units, so that systemd has to look again after the merge. */
export const shipsUnits = ({ actions }: Plan): boolean =>
  actions.some(({ to }) => [...unitFolders].some((folder) => to.startsWith(`${folder}/`)));

/** The actions that start the recipe's `enable` units with the merge. @throws FlixwrapError `extension-unit` */
export function planEnabled(plan: Plan, file: RecipeFile, values: Values): Action[] {
  const names = (file.enable ?? []).filter((one) => holds(one.when, values)).map((one) => one.unit);
  const read = (name: string): UnitFile | undefined => {
    const action = plan.actions.find(({ to }) => baseName(to) === name && unitFolders.has(parentOf(to)));
    if (action?.kind === "write") return parseUnit(Buffer.from(action.content).toString("utf8"));
    if (action?.kind !== "copy") return undefined;
    return parseUnit(Buffer.from(plan.source.open(action.from).read(0, largestUnit)).toString("utf8"));
  };
  return names.length === 0 ? [] : planEnable(names, read);
}

/**
 * The service that applies the recipe's own `sysusers.d/NAME.conf` and `tmpfiles.d/NAME.conf` on a live merge too;
 * by itself systemd does that at boot only.
 */
export function planOwnSetup({ actions }: Plan, recipe: string): Action[] {
  const has = (path: string): boolean => actions.some(({ to }) => to === path);
  const services = actions.filter(({ to }) => unitFolders.has(parentOf(to)) && to.endsWith(".service"));
  return planSetup(
    recipe,
    services.map(({ to }) => baseName(to)),
    actions.map(({ to }) => to),
    { hasUsers: has(`/usr/lib/sysusers.d/${recipe}.conf`), hasFiles: has(`/usr/lib/tmpfiles.d/${recipe}.conf`) },
  );
}
