import { FlixwrapError } from "../../core/errors.ts";
import { baseName, type ExtPath, isWithin, join, parentOf, type RootPath } from "../../core/paths.ts";
import { type ElfFile, isElf, readElf } from "../../elf/index.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { type Entry, missingEntries, specialEntry, wordMoved, wordLeftOut, isLibraryFolder } from "../entry.ts";
import { relativeLink } from "../links.ts";
import { findBinaries } from "./binaries.ts";
import { placePrivately } from "./private-folders.ts";
import { findInterpreter, readShebang, type Shebang } from "./scripts.ts";
import type { Sysroot } from "./sysroot.ts";

/** What the entries bring into the extension, before any library is known. */
export interface Selection {
  readonly files: readonly SelectedFile[];
  readonly links: readonly { readonly to: ExtPath; readonly target: string; readonly why: string }[];
  readonly folders: readonly { readonly to: ExtPath; readonly mode: number; readonly why: string }[];
  readonly warnings: readonly string[];
}

/** A file of the root, and where it shall stand. */
export type SelectedFile = {
  readonly node: RootNode;
  readonly to: ExtPath;
  readonly why: string;
} & (
  | /** Has a loader of its own, or is mapped into a program. */ {
      readonly role: "program" | "library";
      readonly elf: ElfFile;
    }
  /** Its first line is replaced. */
  | { readonly role: "script"; readonly shebang: Shebang; readonly line: string }
  /** Copied as it is; static programs, too. */
  | { readonly role: "plain"; readonly elf?: ElfFile }
);

/** Finds what every entry means in the root. All entries that are missing are told at once. */
export function selectEntries(
  rootfs: Rootfs,
  entries: readonly Entry[],
  sysroot: Sysroot,
  /** Patterns of programs that come along, each at its own path. */
  binaries: readonly string[] = [],
): Selection {
  const found = entries.map((entry) => ({
    entry: placePrivately(rootfs, entry, sysroot),
    node: rootfs.resolve(entry.source),
  }));
  const missing = found.filter(({ node }) => node === undefined).map(({ entry }) => entry.source);
  if (missing.length > 0) throw missingEntries(rootfs, missing);
  const places = [
    ...found.map(({ entry, node }) => ({ entry, node: node!, why: `entry ${entry.source}` })),
    ...findBinaries(rootfs, binaries, sysroot),
  ];
  return new Selector(rootfs, places, sysroot).run();
}

interface FoundEntry {
  readonly entry: Entry;
  readonly node: RootNode;
  readonly why: string;
  readonly warning?: string;
}

class Selector {
  readonly #rootfs: Rootfs;
  readonly #found: readonly FoundEntry[];
  readonly #sysroot: Sysroot;
  readonly #files = new Map<ExtPath, SelectedFile>();
  readonly #links: Selection["links"][number][] = [];
  readonly #folders: Selection["folders"][number][] = [];
  readonly #warnings: string[] = [];

  constructor(rootfs: Rootfs, found: readonly FoundEntry[], sysroot: Sysroot) {
    this.#rootfs = rootfs;
    this.#found = found;
    this.#sysroot = sysroot;
  }

  run(): Selection {
    for (const found of this.#found) {
      const { entry, node, warning } = found;
      if (warning !== undefined) this.#warnings.push(warning);
      this.#warnings.push(...wordMoved(entry));
      if (node.type === "directory") this.#selectFolder(entry, node);
      else if (node.type === "file") this.#selectNamed(found);
      else if (node.type === "symlink") this.#selectLink(node, entry.target, found.why);
      else throw specialEntry(entry, node);
    }
    return {
      files: [...this.#files.values()],
      links: this.#links,
      folders: this.#folders,
      warnings: this.#warnings,
    };
  }

  /** A file that was asked for by name: what cannot work is an error. */
  #selectNamed({ entry, node, why }: FoundEntry): void {
    // A link into a shipped folder stays a link, so that a program that looks around itself finds the folder.
    const shipped = this.#shippedAt(node.path, "directory");
    if (shipped !== undefined && shipped !== entry.target) {
      this.#links.push({ to: entry.target, target: relativeLink(entry.target, shipped), why });
      return;
    }
    const file = this.#classify(node, entry.target, why);
    if (file.role === "library" && isLibraryFolder(parentOf(entry.target))) {
      throw new FlixwrapError("wrap-shadows-host", {
        what: "a library must not stand where the host's loader looks",
        where: entry.target,
        hint: `bring it along for dlopen with --lib ${entry.source}, or choose a folder of its own`,
      });
    }
    if (file.role === "plain" && isElf(this.#rootfs.open(node))) {
      this.#warnings.push(`${entry.source} is static: copied as it is, it needs no library`);
    }
    this.#add(file);
  }

  #selectFolder(entry: Entry, folder: RootNode): void {
    const why = `folder ${entry.source}`;
    for (const node of this.#rootfs.walk(folder.path)) {
      const to = placeBelow(entry.target, folder.path, node.path);
      // It names the folder's own path; without it, the text files are read.
      if (baseName(node.path) === "gconv-modules.cache" && isWithin(to, this.#sysroot.folder)) continue;
      if (node.type === "directory") this.#folders.push({ to, mode: node.mode, why });
      else if (node.type === "symlink") this.#selectLink(node, to, why);
      else if (node.type === "file") this.#add(this.#classifyLoosely(node, to, why));
      else this.#warnings.push(wordLeftOut(node));
    }
  }

  /** A link keeps its meaning: to what is shipped it stays a link, what is not shipped it brings along. */
  #selectLink(link: RootNode, to: ExtPath, why: string): void {
    const goal = this.#rootfs.resolve(link.path);
    const shipped = goal && this.#shippedAt(goal.path);
    if (shipped !== undefined) this.#links.push({ to, target: relativeLink(to, shipped), why });
    else if (goal?.type === "file") this.#add(this.#classifyLoosely(goal, to, `${why}, link to ${goal.path}`));
    else {
      const missing = goal === undefined ? "does not exist in the image" : "is not shipped: name it as a PATH, too";
      this.#warnings.push(`${link.path} is left out: it points to ${link.target}, which ${missing}`);
    }
  }

  /** Where an entry (of this type) puts a path of the root, if one does. */
  #shippedAt(path: RootPath, type?: RootNode["type"]): ExtPath | undefined {
    const owner = this.#found.find(
      ({ node }) => isWithin(path, node.path) && (type === undefined || node.type === type),
    );
    return owner && placeBelow(owner.entry.target, owner.node.path, path);
  }

  #add(file: SelectedFile): void {
    this.#files.set(file.to, file);
  }

  /** In a folder, what cannot be served is copied as it is, and told. */
  #classifyLoosely(node: RootNode, to: ExtPath, why: string): SelectedFile {
    try {
      return this.#classify(node, to, why);
    } catch (error) {
      if (!(error instanceof FlixwrapError)) throw error;
      this.#warnings.push(`${node.path} is copied as it is: ${error.message}`);
      return { node, to, why, role: "plain" };
    }
  }

  #classify(node: RootNode, to: ExtPath, why: string, scripts: readonly RootPath[] = []): SelectedFile {
    const content = this.#rootfs.open(node);
    if (!isElf(content)) {
      const shebang = readShebang(this.#rootfs, node);
      if (shebang === undefined) return { node, to, why, role: "plain" };
      const { path, argument } = findInterpreter(this.#rootfs, node, shebang);
      const interpreter = this.#bringInterpreter(path, node, [...scripts, node.path]);
      const line = `#!${interpreter}${argument === undefined ? "" : ` ${argument}`}\n`;
      return { node, to, why, role: "script", shebang, line };
    }
    const elf = readElf(content, node.path);
    if (elf.interpreter !== undefined) return { node, to, why, role: "program", elf };
    // Static and static-PIE programs, relocatable objects, and libraries that need nothing.
    if (elf.needed.length === 0) return { node, to, why, role: "plain", elf };
    return { node, to, why, role: "library", elf };
  }

  /** The private copy of a script's interpreter, under the name it was asked for: busybox looks at it. */
  #bringInterpreter(path: RootPath, script: RootNode, scripts: readonly RootPath[]): ExtPath {
    const to = this.#sysroot.mirrorFound(path);
    if (this.#files.has(to)) return to;
    const node = this.#rootfs.resolve(path)!;
    if (scripts.includes(node.path)) {
      throw new FlixwrapError("wrap-script", {
        what: "scripts that run each other in a circle",
        where: scripts[0]!,
        items: [...scripts, node.path],
      });
    }
    this.#add(this.#classify(node, to, `interpreter of ${script.path}`, scripts));
    return to;
  }
}

const placeBelow = (target: ExtPath, folder: RootPath, path: RootPath): ExtPath =>
  path === folder ? target : join(target, path.slice(folder === "/" ? 0 : folder.length));
