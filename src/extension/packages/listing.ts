import { rootPath } from "../../core/paths.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Package } from "./package.ts";

/** What a database's reader gives: each package; its paths and its licence when somebody asks. */
export type Listing = readonly ListedPackage[];

/** One package of an image's database: what it is, needs and owns. */
export interface ListedPackage {
  readonly one: Package;
  /** Its own name and every virtual one. */
  readonly provides: readonly string[];
  /** Alternatives: any one of each group. */
  readonly depends: readonly (readonly string[])[];
  /** Files and folders as the database spells them. */
  readonly paths: () => readonly string[];
  readonly licence?: () => string | undefined;
}

/** Where the system that the packages belong to is told. */
export interface Distribution {
  readonly distribution: string;
  readonly release?: string;
}

/** Largest database text that is read; Debian's full desktop has 10 MB. */
const textLimit = 64 << 20;

/** A file's text, or undefined when there is no such file. */
export function readText(root: Rootfs, path: string): string | undefined {
  const node = root.resolve(rootPath(path));
  if (node?.type !== "file") return undefined;
  return Buffer.from(root.open(node).read(0, Math.min(node.size, textLimit))).toString("utf8");
}
