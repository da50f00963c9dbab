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
  if (packages.length === 0) throw noDatabase(rootfs);
  const real = (path: RootPath): RootPath => {
    const folder = rootfs.resolve(parentOf(path));
    return folder === undefined ? path : join(folder.path, baseName(path));
  };
  const owners = indexPackages(packages, (item) => item.paths().map((path) => real(rootPath(path))));
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
  const needed = withDependencies(packages, [...entries, rootPath("/bin/sh")].flatMap(ownersOf));
  return (path) => {
    const holders = owners.get(path);
    return holders === undefined || holders.some((item) => needed.has(item));
  };
}

/** Packages by what `keysOf` tells of each. */
function indexPackages<K>(
  packages: readonly ListedPackage[],
  keysOf: (item: ListedPackage) => readonly K[],
): ReadonlyMap<K, readonly ListedPackage[]> {
  const index = new Map<K, ListedPackage[]>();
  for (const item of packages) {
    for (const key of keysOf(item)) {
      const known = index.get(key);
      if (known === undefined) index.set(key, [item]);
      else known.push(item);
    }
  }
  return index;
}

/** The packages with all they depend on; of alternatives, every one that is installed. */
function withDependencies(
  packages: readonly ListedPackage[],
  wanted: readonly ListedPackage[],
): ReadonlySet<ListedPackage> {
  const byName = indexPackages(packages, ({ provides }) => provides);
  const needed = new Set(wanted);
  // The set grows while it is read.
  for (const { depends } of needed)
    for (const name of depends.flat()) for (const provider of byName.get(name) ?? []) needed.add(provider);
  return needed;
}

function noDatabase(rootfs: Rootfs): FlixwrapError {
  const other = otherDatabases.find(({ path }) => rootfs.resolve(rootPath(path)) !== undefined);
  if (other === undefined) {
    return new FlixwrapError("wrap-no-package-database", {
      what: "--only-needed reads the package database of dpkg or apk, and the image has none",
      where: rootfs.description,
    });
  }
  return new FlixwrapError("wrap-no-package-database", {
    what: `--only-needed reads the package database of dpkg or apk, and this one is of ${other.name}`,
    where: rootfs.description,
    got: other.path,
    hint: "leave parts out by --exclude instead",
  });
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
