import { FlixwrapError } from "../../core/errors.ts";
import { baseName, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import { decodeName } from "../../core/names.ts";
import type { Rootfs } from "../../oci/rootfs.ts";

/** One installed package. */
interface Package {
  readonly name: string;
  /** Its own name and every virtual one. */
  readonly provides: readonly string[];
  /** Alternatives: any one of each group. */
  readonly depends: readonly (readonly string[])[];
  /** As listed, not resolved. */
  readonly files: () => readonly RootPath[];
}

/**
 * Which paths of the root the packages around `entries` need: those that own them, with all they depend on, and
 * the one that owns `/bin/sh` (essential, so nobody names it). What no package owns is needed, too.
 * @throws FlixwrapError `wrap-no-package-database`, `wrap-no-owner`.
 */
export function planNeeded(rootfs: Rootfs, entries: readonly RootPath[]): (path: RootPath) => boolean {
  const packages = readDpkg(rootfs) ?? readApk(rootfs);
  if (packages === undefined) {
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
  const owners = new Map<RootPath, Package[]>();
  for (const item of packages) {
    for (const listed of item.files()) {
      const path = real(listed);
      const known = owners.get(path);
      if (known === undefined) owners.set(path, [item]);
      else known.push(item);
    }
  }
  const byName = new Map<string, Package[]>();
  for (const item of packages) {
    for (const name of item.provides) byName.set(name, [...(byName.get(name) ?? []), item]);
  }

  const ownersOf = (entry: RootPath): Package[] => {
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
  const needed = new Set<Package>([...entries, rootPath("/bin/sh")].flatMap(ownersOf));
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

function readText(rootfs: Rootfs, path: string): string | undefined {
  const node = rootfs.resolve(rootPath(path));
  // A package database of a hundred MiB is none.
  if (node?.type !== "file" || node.size > 128 << 20) return undefined;
  return decodeName(rootfs.open(node).read(0, node.size));
}

/** dpkg: RFC 822 paragraphs in `status`, one file list per package (dpkg(1), deb-control(5)). */
function readDpkg(rootfs: Rootfs): readonly Package[] | undefined {
  const status = readText(rootfs, "/var/lib/dpkg/status");
  // Images without a shell keep one file per package in status.d (distroless).
  const parts = rootfs
    .list(rootPath("/var/lib/dpkg/status.d"))
    .filter((name) => !name.endsWith(".md5sums"))
    .map((name) => readText(rootfs, `/var/lib/dpkg/status.d/${name}`) ?? "");
  if (status === undefined && parts.length === 0) return undefined;
  return [status ?? "", ...parts]
    .join("\n\n")
    .split(/\n{2,}/)
    .flatMap((paragraph) => {
      const fields = new Map<string, string>();
      for (const match of paragraph.matchAll(/^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm))
        fields.set(match[1]!, match[2]!);
      const name = fields.get("Package");
      if (name === undefined || / (deinstall|purge) /.test(` ${fields.get("Status") ?? ""} `)) return [];
      const depends = [fields.get("Depends"), fields.get("Pre-Depends")].flatMap((list) => splitDepends(list ?? ""));
      const provides = [name, ...splitDepends(fields.get("Provides") ?? "").flat()];
      const architecture = fields.get("Architecture") ?? "";
      return [{ name, provides, depends, files: () => readDpkgList(rootfs, name, architecture) }];
    });
}

function readDpkgList(rootfs: Rootfs, name: string, architecture: string): readonly RootPath[] {
  const info = "/var/lib/dpkg/info";
  const list = readText(rootfs, `${info}/${name}.list`) ?? readText(rootfs, `${info}/${name}:${architecture}.list`);
  if (list !== undefined) return list.split("\n").filter(Boolean).map(rootPath);
  const sums = readText(rootfs, `/var/lib/dpkg/status.d/${name}.md5sums`) ?? "";
  return sums.split("\n").flatMap((line) => (line === "" ? [] : [rootPath(`/${line.slice(34)}`)]));
}

/** `a (>= 1) | b:any, c` as groups of names. */
const splitDepends = (text: string): string[][] =>
  text
    .split(",")
    .filter((group) => group.trim() !== "")
    .map((group) => group.split("|").map((name) => name.trim().replace(/[\s(:[].*$/s, "")));

/** apk: one `K:value` paragraph per package, with `F:` folder and `R:` file lines (apk-installed-db). */
function readApk(rootfs: Rootfs): readonly Package[] | undefined {
  const database = readText(rootfs, "/lib/apk/db/installed") ?? readText(rootfs, "/usr/lib/apk/db/installed");
  return database?.split(/\n{2,}/).flatMap((paragraph) => {
    const lines = paragraph.split("\n").map((line) => [line.slice(0, 2), line.slice(2)] as const);
    const value = (key: string): string => lines.find(([found]) => found === key)?.[1] ?? "";
    const words = (key: string): string[] =>
      value(key)
        .split(" ")
        .filter(Boolean)
        .map((word) => word.replace(/[<>=~].*$/, ""));
    if (value("P:") === "") return [];
    const files = (): RootPath[] => {
      let folder = "";
      return lines.flatMap(([key, text]) => {
        if (key === "F:") folder = text;
        return key === "F:" ? [rootPath(`/${text}`)] : key === "R:" ? [rootPath(`/${folder}/${text}`)] : [];
      });
    };
    // `!name` is a conflict, not a need.
    const depends = words("D:")
      .filter((word) => !word.startsWith("!"))
      .map((word) => [word]);
    return [{ name: value("P:"), provides: [value("P:"), ...words("p:")], depends, files }];
  });
}
