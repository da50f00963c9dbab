import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import type { Rootfs } from "../oci/rootfs.ts";

/** A database of a full distribution has some ten megabytes. In bytes. */
const largestDatabase = 256 << 20;

/** Where a package manager writes what is installed, and how a record of it looks. */
const databases = [
  { path: "/lib/apk/db/installed", name: /^P:(.*)$/m, version: /^V:(.*)$/m },
  { path: "/usr/lib/apk/db/installed", name: /^P:(.*)$/m, version: /^V:(.*)$/m },
  { path: "/var/lib/dpkg/status", name: /^Package: (.*)$/m, version: /^Version: (.*)$/m },
];

/** The version of an installed package, as its manager writes it; undefined when it is not installed. */
export function packageVersion(root: Rootfs, name: string): string | undefined {
  for (const database of databases) {
    const node = root.resolve(rootPath(database.path));
    if (node?.type !== "file") continue;
    const text = Buffer.from(root.open(node).read(0, largestDatabase)).toString("utf8");
    const record = text.split("\n\n").find((one) => database.name.exec(one)?.[1] === name);
    if (record !== undefined) return database.version.exec(record)?.[1];
  }
  return undefined;
}

/**
 * Refuses a root whose package is another version than the one that was asked for. Distributions append their
 * own revision (`1.4.0-r0`, `1:1.1.3-1+b1`).
 * @throws FlixwrapError `recipe-package`
 */
export function requirePackage(root: Rootfs, name: string, version: string): void {
  const installed = packageVersion(root, name);
  const upstream = installed?.replace(/^\d+:/, "").replace(/[-+~].*$/, "");
  const wanted = version.replace(/^v(?=\d)/, "");
  if (installed !== undefined && (upstream === wanted || installed === wanted)) return;
  throw new FlixwrapError("recipe-package", {
    what: `the image has another version of ${name} than the one asked for`,
    where: root.description,
    got: installed ?? "none",
    wanted: version,
    hint: "a distribution keeps one version; bake that one or use an image of another release",
  });
}
