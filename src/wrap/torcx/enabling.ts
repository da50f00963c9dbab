import { baseName, type ExtPath, extPath, isWithin, parentOf } from "../../core/paths.ts";
import type { Action } from "../../extension/plan.ts";
import { isUnitName } from "../../extension/units/names.ts";
import { assetFolders } from "./places.ts";

/** A unit that another one starts, by a link in the image. */
export interface Enabled {
  readonly target: string;
  readonly unit: string;
}

/** `multi-user.target.wants/docker.service`, read from the place of the link; undefined for any other path. */
export function enabledBy(to: ExtPath): Enabled | undefined {
  const folder = parentOf(to);
  if (parentOf(folder) !== assetFolders.units) return undefined;
  const target = /^(.+)\.(wants|requires|upholds)$/.exec(baseName(folder))?.[1];
  const unit = baseName(to);
  if (target === undefined || !isUnitName(target) || !isUnitName(unit)) return undefined;
  // What torcx's own target started is started at its time.
  return { target: target === "torcx.target" ? "multi-user.target" : target, unit };
}

/**
 * The drop-in that takes the link's place: `Wants=` acts at boot only, `Upholds=` also when the extension comes to a
 * running host. Path and content are those of `planEnable`, so that both may ask for one unit.
 */
export function planUpholds({ target, unit }: Enabled): Action {
  return {
    kind: "write",
    to: extPath(`${assetFolders.units}/${target}.d/10-${unit}.conf`),
    content: Buffer.from(`[Unit]\nUpholds=${unit}\n`),
    mode: 0o644,
    why: `enables ${unit}`,
  };
}

/** A unit file or a drop-in of one, of the system's or the users' manager. */
export const isUnitFile = (to: ExtPath): boolean =>
  ["/usr/lib/systemd/system", "/usr/lib/systemd/user"].some((folder) => isWithin(to, folder)) &&
  (isUnitName(baseName(to)) || (to.endsWith(".conf") && baseName(parentOf(to)).endsWith(".d")));
