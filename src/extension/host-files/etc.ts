import { FlixwrapError } from "../../core/errors.ts";
import { type ExtPath, type RootPath, extPath, isWithin, rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import type { Action } from "../plan.ts";
import { type Accounts, groupName, userName } from "./accounts.ts";
import type { TmpfilesLine } from "./tmpfiles.ts";

/** Files of `/etc`, shipped where an extension can carry them, and the lines that put them in their place. */
export interface HostFiles {
  readonly actions: readonly Action[];
  readonly lines: readonly TmpfilesLine[];
  /** Owners named in the lines, which must exist on the host. */
  readonly owners: readonly { readonly uid: number; readonly gid: number }[];
}

/** Where `/etc` of the extension `name` stands in it. */
export const etcFolder = (name: string): ExtPath => extPath(`/usr/share/${name}/etc`);

/**
 * A sysext cannot carry `/etc`: each path is shipped below {@link etcFolder}, and systemd-tmpfiles copies it at
 * boot. One line per node, since `C` of a folder does nothing when the host's folder has anything in it; what an
 * administrator changed is kept, since `C` and `L` never replace.
 * @throws FlixwrapError `extension-etc` for a path outside /etc or not in the root.
 */
export function planEtc(root: Rootfs, paths: readonly string[], name: string, accounts: Accounts): HostFiles {
  const nodes = new Map<RootPath, RootNode>();
  for (const text of paths) {
    const path = rootPath(text);
    if (path === "/etc" || !isWithin(path, "/etc"))
      throw new FlixwrapError("extension-etc", { what: "--etc takes files and folders below /etc", got: text });
    const node = root.lookup(path);
    if (node === undefined)
      throw new FlixwrapError("extension-etc", { what: "no such file in the image", where: path });
    for (const found of root.walk(node.path)) nodes.set(found.path, found);
  }
  const base = etcFolder(name);
  const place = (path: RootPath): ExtPath => extPath(base + path.slice("/etc".length));
  const kept = [...nodes.values()].filter(({ type }) => ["file", "directory", "symlink"].includes(type));
  kept.sort((a, b) => (a.path < b.path ? -1 : 1));
  return {
    // A folder needs no action: it exists for what is in it, and tmpfiles makes it anew.
    actions: kept
      .filter(({ type }) => type === "file")
      .map((from): Action => ({
        kind: "copy",
        from,
        to: place(from.path),
        why: "configuration, copied to /etc on the host",
      })),
    lines: kept.map((node) => etcLine(node, place(node.path), accounts)),
    owners: kept.filter(({ type }) => type !== "symlink").map(({ uid, gid }) => ({ uid, gid })),
  };
}

function etcLine({ type, path, mode, uid, gid, target }: RootNode, source: ExtPath, accounts: Accounts): TmpfilesLine {
  if (type === "symlink") return { type: "L", path, argument: target ?? "" };
  const owner = { mode: mode & 0o7777, user: userName(accounts, uid), group: groupName(accounts, gid) };
  if (type === "directory") return { type: "d", path, ...owner };
  return { type: "C", path, ...owner, argument: source };
}
