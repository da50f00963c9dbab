import type { RootPath } from "../../core/paths.ts";

/** An installed package of a root, as its package manager's database tells. */
export interface Package {
  readonly type: "deb" | "apk";
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Name of the source package, where it differs. */
  readonly source?: string;
  /** As the package says: free text in apk's database, short names of DEP-5 in Debian's; absent when unknown. */
  readonly licence?: string;
  readonly supplier?: string;
  readonly homepage?: string;
  /** Distribution it is from: `debian`, `ubuntu`, `alpine`, `wolfi`. */
  readonly distribution: string;
  /** `VERSION_ID` of that distribution's os-release. */
  readonly release?: string;
}

/** The packages of a root. */
export interface PackageDatabase {
  /** Who owns a file, by its path in the root; undefined when no package does. */
  readonly ownerOf: (path: RootPath) => Package | undefined;
  /** What a package lists below /var, folders and files. */
  readonly foldersOf: (owner: Package) => readonly RootPath[];
}

/** Package URL (purl-spec): `pkg:deb/debian/zlib1g@1.2.13?arch=amd64&distro=debian-12`. */
export function packageUrl(one: Package): string {
  const escape = (text: string) => encodeURIComponent(text).replace(/%3A/g, ":");
  const distro = one.release === undefined ? one.distribution : `${one.distribution}-${one.release}`;
  return `pkg:${one.type}/${escape(one.distribution)}/${escape(one.name)}@${escape(one.version)}?arch=${escape(one.architecture)}&distro=${escape(distro)}`;
}
