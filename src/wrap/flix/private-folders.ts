import { createHash } from "node:crypto";
import type { ByteWrite } from "../../core/bytes.ts";
import { type ExtPath, extPath, isWithin, join, type RootPath, rootPath } from "../../core/paths.ts";
import { type ElfFile, findPath } from "../../elf/index.ts";
import { afterUsrMerge } from "../../extension/check/hosts.ts";
import type { Action } from "../../extension/plan.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Entry } from "../entry.ts";
import { relativeLink } from "../links.ts";
import type { Sysroot } from "./sysroot.ts";

/**
 * Folders of plug-ins that libraries of every host look into, too: at its own place ours would be merged over the
 * host's, whose programs would load them with another C library. They stand in the private folder instead, and the
 * private copies of the libraries are led there. (Folders of one program, such as perl's, stay where they are.)
 */
const sharedFolder =
  /^.*?\/(?:gconv|security|ossl-modules|engines-[\d.]+|sasl2|krb5\/plugins|gio\/modules|gdk-pixbuf-2\.0|pkcs11)(?=\/|$)/;

/** One such folder of the root, and where its private copy is found by a path that is no longer than its own. */
export interface PrivateFolder {
  readonly folder: RootPath;
  readonly place: ExtPath;
}

/** The entry, or the private place of one that names a shared folder (or a part of it) at its own place. */
export function placePrivately(rootfs: Rootfs, entry: Entry, sysroot: Sysroot): Entry {
  const real = rootfs.resolve(entry.source)?.path ?? entry.source;
  const isAlike = entry.target === afterUsrMerge(entry.source) || entry.target === afterUsrMerge(real);
  return isAlike && sharedFolder.test(real) ? { source: entry.source, target: sysroot.mirror(real) } : entry;
}

/** The shared folders that stand in the private folder, by where the files of the selection stand. */
export function findPrivateFolders(places: readonly ExtPath[], sysroot: Sysroot): readonly PrivateFolder[] {
  const inside = places
    .filter((place) => isWithin(place, sysroot.folder))
    .flatMap((place) => sharedFolder.exec(place.slice(sysroot.folder.length))?.[0] ?? []);
  return [...new Set(inside)].map((path) => {
    const folder = rootPath(path);
    const place = sysroot.mirror(folder);
    return { folder, place };
  });
}

/** A link to the private copy whose own path is so short that it takes the place of any compiled-in one. */
export function linkPrivateFolder({ folder, place }: PrivateFolder): Action & { readonly kind: "symlink" } {
  // `/usr/lib64/gconv` is the shortest there is, 16 bytes.
  const name = createHash("sha256").update(place).digest("hex").slice(0, 6);
  const to = join(extPath("/usr/lib"), `.${name}`);
  const why = `leads private libraries to their ${folder}`;
  return { kind: "symlink", to, target: relativeLink(to, place), why };
}

/** The edits of the same length that lead an object to the private folders it names. */
export function redirect(
  elf: ElfFile,
  folders: readonly PrivateFolder[],
): { readonly writes: readonly ByteWrite[]; readonly changes: readonly string[] } {
  const found = folders.flatMap((one) => {
    const { to } = linkPrivateFolder(one);
    // As it is spelled in a root without and with merged /usr.
    const spellings = [one.folder, one.folder.replace(/^\/usr(?=\/lib)/, "")];
    return spellings.flatMap((path) =>
      findPath(elf, path).map((offset) => ({ offset, bytes: Buffer.from(to.padEnd(path.length, "/")), path, to })),
    );
  });
  const changes = new Set(found.map(({ path, to }) => `${path} is ${to}`));
  return { writes: found.map(({ offset, bytes }) => ({ offset, bytes })), changes: [...changes] };
}
