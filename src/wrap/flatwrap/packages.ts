import { FlixwrapError } from "../../core/errors.ts";
import { baseName, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import type { ListedPackage } from "../../extension/packages/listing.ts";
import { listPackages } from "../../extension/packages/read.ts";
import type { Rootfs } from "../../oci/rootfs.ts";

/**
 * Which paths of the root the packages around `entries` need: those that own them, with all they depend on, and
 * the one that owns `/bin/sh` (essential, so nobody names it). What no package owns is needed, too.
 * @throws FlixwrapError `wrap-no-package-database`, `wrap-no-owner`.
 */
export function planNeeded(rootfs: Rootfs, entries: readonly RootPath[]): (path: RootPath) => boolean {
  const packages = listPackages(rootfs);
  if (packages.length === 0) {
    const other = otherDatabases.find(({ path }) => rootfs.resolve(rootPath(path)) !== undefined);
    if (other !== undefined) {
      throw new FlixwrapError("wrap-no-package-database", {
        what: `--only-needed reads the package database of dpkg or apk, and this one is of ${other.name}`,
        where: rootfs.description,
        got: other.path,
        hint: "leave parts out by --exclude instead",
      });
    }
    throw new FlixwrapError("wrap-no-package-database", {
      what: "--only-needed reads the package database of dpkg or apk, and the image has none",
      where: rootfs.description,
    });
  }
  const real = (path: RootPath): RootPath => {
    const folder = rootfs.resolve(parentOf(path));
    return folder === undefined ? path : join(folder.path, baseName(path));
  };
  const owners = new Map<RootPath, ListedPackage[]>();
  for (const item of packages) {
    for (const listed of item.paths()) {
      const path = real(rootPath(listed));
      const known = owners.get(path);
      if (known === undefined) owners.set(path, [item]);
      else known.push(item);
    }
  }
  const byName = new Map<string, ListedPackage[]>();
  for (const item of packages) {
    for (const name of item.provides) byName.set(name, [...(byName.get(name) ?? []), item]);
  }

  const ownersOf = (entry: RootPath): ListedPackage[] => {
    const goal = rootfs.resolve(entry)?.path;
    return [real(entry), ...(goal === undefined ? [] : [goal])].flatMap((path) => owners.get(path) ?? []);
  };
  const unowned = entries.filter((entry) => ownersOf(entry).length === 0);
  if (unowned.length > 0) {
    throw new FlixwrapError("wrap-no-owner", {
      what: "no package owns what --only-needed shall keep",
      where: rootfs.description,
      got: unowned.join(", "),
      hint: "leave parts out by --exclude instead",
    });
  }
  const needed = new Set<ListedPackage>([...entries, rootPath("/bin/sh")].flatMap(ownersOf));
  for (const item of needed) {
    for (const group of item.depends) {
      const found = group.flatMap((name) => byName.get(name) ?? []);
      for (const provider of found) needed.add(provider);
    }
  }
  return (path) => {
    const holders = owners.get(path);
    return holders === undefined || holders.some((item) => needed.has(item));
  };
}

/** Databases that are recognized and not read. */
const otherDatabases = [
  { name: "rpm", path: "/usr/lib/sysimage/rpm/rpmdb.sqlite" },
  { name: "rpm", path: "/var/lib/rpm/rpmdb.sqlite" },
  { name: "rpm", path: "/var/lib/rpm/Packages" },
  { name: "rpm", path: "/usr/lib/sysimage/rpm/Packages.db" },
  { name: "pacman", path: "/var/lib/pacman/local" },
  { name: "xbps", path: "/var/db/xbps" },
  { name: "opkg", path: "/usr/lib/opkg/status" },
] as const;
