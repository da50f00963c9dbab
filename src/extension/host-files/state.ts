import { type RootPath, isWithin } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { type Accounts, groupName, userName } from "./accounts.ts";
import type { TmpfilesLine } from "./tmpfiles.ts";

/** Folders that every system has (FHS 3.0, chapter 5). */
const usual =
  /^\/var(\/(account|backups|cache|crash|db|empty|games|lib|local|lock|log|mail|opt|run|spool|tmp|yp|lib\/misc|spool\/(cron|mail)))?$/;

/**
 * Folders of `/var` that the packages of the shipped files own, as lines that make them on the host: an image has
 * them from its package manager, a host gets them from nobody.
 */
export function planState(
  root: Rootfs,
  folders: readonly RootPath[],
  accounts: Accounts,
): {
  readonly lines: readonly TmpfilesLine[];
  readonly owners: readonly { readonly uid: number; readonly gid: number }[];
} {
  const nodes = [...new Set(folders)]
    .filter((path) => isWithin(path, "/var") && !usual.test(path))
    .sort()
    .flatMap((path) => root.lookup(path) ?? [])
    // /var/run and the like are links into /run, which is made anew at each boot.
    .filter((node) => node.type === "directory" && isWithin(node.path, "/var"));
  return {
    lines: nodes.map(({ path, mode, uid, gid }) => ({
      type: "d",
      path,
      mode: mode & 0o7777,
      user: userName(accounts, uid),
      group: groupName(accounts, gid),
    })),
    owners: nodes.map(({ uid, gid }) => ({ uid, gid })),
  };
}
