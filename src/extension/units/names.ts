import { type ExtPath, extPath } from "../../core/paths.ts";

/** Where an extension's units of the system manager stand; the host's own are beside them after the merge. */
export const unitFolder = extPath("/usr/lib/systemd/system");

/** Kinds of unit, by the ending of the file's name (systemd.unit(5)). */
const kinds = "service|socket|timer|path|target|mount|automount|swap|slice|scope|device";
const namePattern = new RegExp(String.raw`^(?:[A-Za-z0-9:_.\\-]+)(?:@[A-Za-z0-9:_.\\-]*)?\.(${kinds})$`);

/** Whether `name` can be a unit: `nginx.service`, `getty@.service`, `getty@tty1.service`. */
export function isUnitName(name: string): boolean {
  return name.length < 256 && namePattern.test(name);
}

/** `service` of `nginx.service`; undefined when it is no unit's name. */
export function unitKind(name: string): string | undefined {
  return name.length < 256 ? namePattern.exec(name)?.[1] : undefined;
}

/** `getty@.service` of `getty@tty1.service`; other names are their own file. */
export function unitFileName(name: string): string {
  return name.replace(/@.+(\.[a-z]+)$/, "@$1");
}

/** The unit's name when `path` is a unit file in {@link unitFolder} itself. */
export function unitAt(path: ExtPath): string | undefined {
  if (!path.startsWith(`${unitFolder}/`)) return undefined;
  const name = path.slice(unitFolder.length + 1);
  return isUnitName(name) ? name : undefined;
}

/** The unit that a path is a drop-in of: `nginx.service` for `/usr/lib/systemd/system/nginx.service.d/10-x.conf`. */
export const dropInOf = (path: string): string | undefined =>
  new RegExp(`^${unitFolder}/([^/]+)\\.d/[^/]+\\.conf$`).exec(path)?.[1];
