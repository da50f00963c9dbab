import { findArchitecture } from "../../core/architectures.ts";
import type { Architecture } from "../../core/architectures.ts";
import { type RootPath, baseName, parentOf, rootPath } from "../../core/paths.ts";
import { type ElfFile, isElf, readElf } from "../../elf/index.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { parseRelease, releaseFolder } from "../release.ts";
import { hierarchies } from "../tree.ts";
import { unitFolder } from "../units/names.ts";
import { type UnitFile, parseUnit } from "../units/unit-file.ts";
import type { HostProfile } from "./hosts.ts";

/** An extension as the rules see it; everything is read once, when a rule first asks. */
export interface Subject {
  readonly rootfs: Rootfs;
  /** Every node of /usr and /opt, parents first; the rest is never merged. */
  readonly nodes: readonly RootNode[];
  /** File or folder name under which the host will find it: `b3sum.raw`. */
  readonly fileName: string;
  /** The hosts that it must fit; `chosen` tells whether the user named them. */
  readonly hosts: readonly HostProfile[];
  readonly chosen: boolean;
  /** A real host's tree. */
  readonly host: Rootfs | undefined;
  /** Every extension-release file: the part of its name after the dot, and its variables. */
  readonly releases: () => readonly Release[];
  /** The row that ARCHITECTURE= names; undefined when it names none. */
  readonly architecture: () => Architecture | undefined;
  readonly elfFiles: () => readonly ElfNode[];
  /** Unit files and drop-ins of the system manager. */
  readonly units: () => readonly UnitNode[];
  /**
   * The root that a path belongs to when it lies in a private root file system (Flatwrap), which is entered by
   * chroot: links and loaders there start at that folder.
   */
  readonly privateRootOf: (path: RootPath) => RootPath | undefined;
}

/** One extension-release file: the end of its name, and its fields. */
export interface Release {
  readonly node: RootNode;
  readonly suffix: string;
  readonly fields: ReadonlyMap<string, string>;
}
/** A file of the extension that begins as ELF does. */
export interface ElfNode {
  readonly node: RootNode;
  /** Undefined with a problem when the file cannot be read as ELF. */
  readonly elf: ElfFile | undefined;
  readonly problem?: string;
}
/** A unit or drop-in of the extension. */
export interface UnitNode {
  readonly node: RootNode;
  readonly name: string;
  readonly unit: UnitFile;
}

/** What {@link openSubject} looks at. */
export interface SubjectOptions {
  readonly fileName: string;
  readonly hosts: readonly HostProfile[];
  readonly chosen: boolean;
  readonly host?: Rootfs;
}

const textLimit = 1 << 20;

/** Walks the extension once. */
export function openSubject(rootfs: Rootfs, options: SubjectOptions): Subject {
  const nodes = hierarchies.flatMap((top) => Array.from(rootfs.walk(rootPath(top))));
  const text = (node: RootNode) => Buffer.from(rootfs.open(node).read(0, textLimit)).toString("utf8");
  const files = nodes.filter((node) => node.type === "file");
  const releases = once(() => findReleases(files, text));
  const privateRoots = once(() => findPrivateRoots(nodes));
  return {
    rootfs,
    nodes,
    ...options,
    host: options.host,
    releases,
    architecture: once(() => findArchitecture(releases()[0]?.fields.get("ARCHITECTURE") ?? "")),
    elfFiles: once(() => findElfFiles(files, rootfs)),
    units: once(() => findUnits(files, text)),
    privateRootOf: (path) => {
      for (let folder = parentOf(path); folder !== "/"; folder = parentOf(folder))
        if (privateRoots().has(folder)) return folder;
      return undefined;
    },
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

function findReleases(files: readonly RootNode[], text: (node: RootNode) => string): Release[] {
  const start = `${releaseFolder}/extension-release.`;
  return files
    .filter(({ path }) => path.startsWith(start) && !path.slice(start.length).includes("/"))
    .map((node) => ({ node, suffix: node.path.slice(start.length), fields: parseRelease(text(node)) }));
}

function findElfFiles(files: readonly RootNode[], rootfs: Rootfs): ElfNode[] {
  return files.flatMap((node): ElfNode[] => {
    const source = rootfs.open(node);
    if (!isElf(source)) return [];
    try {
      return [{ node, elf: readElf(source, node.path) }];
    } catch (error) {
      return [{ node, elf: undefined, problem: (error as Error).message }];
    }
  });
}

function findUnits(files: readonly RootNode[], text: (node: RootNode) => string): UnitNode[] {
  const pattern = /\.(service|socket|timer|path|target|mount|automount|swap|slice|scope|device|conf)$/;
  return files
    .filter(({ path }) => path.startsWith(`${unitFolder}/`) && pattern.test(path))
    .map((node) => ({ node, name: baseName(node.path), unit: parseUnit(text(node)) }));
}

/** A folder below /usr or /opt that has a `usr` of its own and more of a root beside it. */
function findPrivateRoots(nodes: readonly RootNode[]): ReadonlySet<RootPath> {
  const roots = new Set<RootPath>();
  const paths = new Set<string>(nodes.map(({ path }) => path));
  for (const { path, type } of nodes)
    if (type === "directory" && path.endsWith("/usr") && path !== "/usr") {
      const above = parentOf(path);
      if (["/etc", "/bin", "/lib", "/lib64"].some((name) => paths.has(above + name))) roots.add(above);
    }
  return roots;
}
