import { type ExtPath, extPath, isWithin } from "../../core/paths.ts";
import { hierarchies } from "../../extension/tree.ts";
import { unitFolder } from "../../extension/units/names.ts";

/** Lists of a Torcx manifest whose files a host obeys, with the folder of an extension that does the same. */
export const assetFolders = {
  units: unitFolder,
  network: extPath("/usr/lib/systemd/network"),
  sysusers: extPath("/usr/lib/sysusers.d"),
  tmpfiles: extPath("/usr/lib/tmpfiles.d"),
  udev_rules: extPath("/usr/lib/udev/rules.d"),
} as const;

/** Where programs go. */
export const programFolder = extPath("/usr/bin");

/**
 * A path of a Torcx image as it is called after the conversion: `/bin` and `/sbin` are `/usr/bin`, `/lib` is
 * `/usr/lib`. A real folder `/usr/sbin` would hide the link that many hosts have there (systemd#42746).
 */
export function movePath(path: string): string {
  return path
    .replace(/^\/(usr\/)?s?bin(?=\/|$)/, "/usr/bin")
    .replace(/^\/usr\/local\/sbin(?=\/|$)/, "/usr/local/bin")
    .replace(/^\/(lib(?:32|64|x32)?)(?=\/|$)/, "/usr/$1");
}

/** Where a path of the image stands in the extension; undefined: nowhere, an extension holds /usr and /opt alone. */
export function placeOf(path: string): ExtPath | undefined {
  const moved = extPath(movePath(path));
  return hierarchies.some((top) => moved !== top && isWithin(moved, top)) ? moved : undefined;
}
