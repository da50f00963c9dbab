import { defined } from "../../core/defined.ts";
import { rootPath } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { parseRelease } from "../release.ts";
import { readApk } from "./apk.ts";
import { readDpkg } from "./dpkg.ts";
import { type Distribution, type ListedPackage, type Listing, readText } from "./listing.ts";
import type { Package, PackageDatabase } from "./package.ts";

/** What the dpkg and apk databases of a root say is installed; nothing where there is neither. */
export function listPackages(root: Rootfs): Listing {
  const release = parseRelease(readText(root, "/etc/os-release") ?? readText(root, "/usr/lib/os-release") ?? "");
  const versionId = release.get("VERSION_ID");
  const system = (usual: string): Distribution => ({
    distribution: release.get("ID") ?? usual,
    ...defined({ release: versionId }),
  });
  return [...readDpkg(root, system("debian")), ...readApk(root, system("alpine"))];
}

/** Who owns what in a root; one without a database has no owners. */
export function readPackages(root: Rootfs): PackageDatabase {
  // Paths stay as the databases spell them: an image has tens of thousands, and a few are asked for.
  const owners = new Map<string, ListedPackage>();
  for (const listed of listPackages(root)) for (const path of listed.paths()) owners.set(path, listed);
  const complete = new Map<ListedPackage, Package>();
  const completed = (listed: ListedPackage): Package => {
    const known = complete.get(listed);
    if (known !== undefined) return known;
    const licence = listed.licence?.();
    const one = licence === undefined ? listed.one : { ...listed.one, licence };
    complete.set(listed, one);
    return one;
  };
  return {
    ownerOf: (path) => {
      // Packages from before the merge of /usr list /lib/x for what is /usr/lib/x.
      const listed = owners.get(path) ?? owners.get(path.replace(/^\/usr(?=\/(bin|sbin|lib|lib32|lib64)\/)/, ""));
      return listed && completed(listed);
    },
    foldersOf: (one) => {
      const listed = [...complete].find(([, known]) => known === one)?.[0];
      return (listed?.paths() ?? []).filter((path) => path.startsWith("/var/")).map(rootPath);
    },
  };
}
