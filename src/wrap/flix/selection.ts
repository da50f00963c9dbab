import { FlixwrapError } from "../../core/errors.ts";
import { baseName, type ExtPath, isWithin, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import { type ElfFile, isElf, readElf } from "../../elf/index.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import type { Entry } from "../entry.ts";
import { relativeLink } from "../links.ts";

/** What the entries bring into the extension, before anything they need is known. */
export interface Selection {
  readonly files: readonly SelectedFile[];
  readonly links: readonly { readonly to: ExtPath; readonly target: string; readonly why: string }[];
  readonly folders: readonly { readonly to: ExtPath; readonly mode: number; readonly why: string }[];
  readonly warnings: readonly string[];
}

/** A file of the root that stands at a place of the user's choice. */
export interface SelectedFile {
  readonly node: RootNode;
  readonly to: ExtPath;
  readonly why: string;
  /** `program` has a loader of its own, `library` is mapped into one, `plain` is copied as it is. */
  readonly role: "program" | "library" | "plain";
  /** Of programs and libraries. */
  readonly elf?: ElfFile;
}

/** Finds what every entry means in the root. All entries that are missing are told at once. */
export function selectEntries(rootfs: Rootfs, entries: readonly Entry[]): Selection {
  const found = entries.map((entry) => ({ entry, node: rootfs.resolve(entry.source) }));
  const missing = found.filter(({ node }) => node === undefined).map(({ entry }) => entry.source);
  if (missing.length > 0) throw missingEntries(rootfs, missing);

  const selection = new Selector(
    rootfs,
    found.map(({ entry, node }) => ({ entry, node: node! })),
  );
  return selection.run();
}

interface FoundEntry {
  readonly entry: Entry;
  readonly node: RootNode;
}

class Selector {
  readonly #rootfs: Rootfs;
  readonly #found: readonly FoundEntry[];
  readonly #files: SelectedFile[] = [];
  readonly #links: Selection["links"][number][] = [];
  readonly #folders: Selection["folders"][number][] = [];
  readonly #warnings: string[] = [];

  constructor(rootfs: Rootfs, found: readonly FoundEntry[]) {
    this.#rootfs = rootfs;
    this.#found = found;
  }

  run(): Selection {
    for (const { entry, node } of this.#found) {
      if (entry.movedFrom !== undefined) {
        this.#warnings.push(`${entry.movedFrom} goes to ${entry.target}: a folder usr/sbin would hide the host's link`);
      }
      if (node.type === "directory") this.#selectFolder(entry, node);
      else if (node.type === "file") this.#selectProgram(entry, node);
      else
        throw new FlixwrapError("wrap-entry-special", {
          what: "cannot ship",
          where: entry.source,
          got: `a ${node.type}`,
        });
    }
    return { files: this.#files, links: this.#links, folders: this.#folders, warnings: this.#warnings };
  }

  /** A file that was asked for by name: what cannot work is an error. */
  #selectProgram(entry: Entry, node: RootNode): void {
    const file = this.#classify(node, entry.target, `entry ${entry.source}`);
    if (file.role === "plain" && isScript(this.#rootfs, node)) throw scriptEntry(this.#rootfs, entry, node);
    if (file.role === "library" && isLibraryFolder(parentOf(entry.target))) {
      throw new FlixwrapError("wrap-shadows-host", {
        what: "a library must not stand where the host's loader looks",
        where: entry.target,
        hint: `choose a folder of its own, such as ${entry.source}:/usr/lib/NAME/${baseName(entry.target)}`,
      });
    }
    if (file.role === "plain" && isElf(this.#rootfs.open(node))) {
      this.#warnings.push(`${entry.source} is static: copied as it is, it needs no library`);
    }
    this.#files.push(file);
  }

  #selectFolder(entry: Entry, folder: RootNode): void {
    const why = `folder ${entry.source}`;
    let scripts = 0;
    for (const node of this.#rootfs.walk(folder.path)) {
      const to = placeBelow(entry.target, folder.path, node.path);
      if (node.type === "directory") this.#folders.push({ to, mode: node.mode, why });
      else if (node.type === "symlink") this.#selectLink(node, to, why);
      else if (node.type === "file") {
        const file = this.#classify(node, to, why);
        if (file.role === "plain" && isScript(this.#rootfs, node)) scripts += 1;
        this.#files.push(file);
      } else this.#warnings.push(`${node.path} is left out: a ${node.type} has no place in an extension`);
    }
    if (scripts > 0) {
      this.#warnings.push(`${entry.source} has ${scripts} scripts; they will use the host's interpreters`);
    }
  }

  /** A link keeps its meaning: to what is shipped it stays a link, what is not shipped it brings along. */
  #selectLink(link: RootNode, to: ExtPath, why: string): void {
    const goal = this.#rootfs.resolve(link.path);
    const shipped = goal && this.#shippedAt(goal.path);
    if (shipped !== undefined) this.#links.push({ to, target: relativeLink(to, shipped), why });
    else if (goal?.type === "file") this.#files.push(this.#classify(goal, to, `${why}, link to ${goal.path}`));
    else {
      const missing = goal === undefined ? "does not exist in the image" : "is not shipped: name it as a PATH, too";
      this.#warnings.push(`${link.path} is left out: it points to ${link.target}, which ${missing}`);
    }
  }

  /** Where an entry puts a path of the root, if one does. */
  #shippedAt(path: RootPath): ExtPath | undefined {
    const owner = this.#found.find(({ node }) => isWithin(path, node.path));
    return owner && placeBelow(owner.entry.target, owner.node.path, path);
  }

  #classify(node: RootNode, to: ExtPath, why: string): SelectedFile {
    const content = this.#rootfs.open(node);
    if (!isElf(content)) return { node, to, why, role: "plain" };
    const elf = readElf(content, node.path);
    if (elf.interpreter !== undefined) return { node, to, why, role: "program", elf };
    // Static and static-PIE programs, relocatable objects, and libraries that need nothing.
    if (elf.needed.length === 0) return { node, to, why, role: "plain" };
    return { node, to, why, role: "library", elf };
  }
}

const placeBelow = (target: ExtPath, folder: RootPath, path: RootPath): ExtPath =>
  path === folder ? target : join(target, path.slice(folder === "/" ? 0 : folder.length));

function isScript(rootfs: Rootfs, node: RootNode): boolean {
  return (node.mode & 0o111) !== 0 && Buffer.from(rootfs.open(node).read(0, 2)).toString("latin1") === "#!";
}

/** Folders that some host's loader or ldconfig searches: /usr/lib, /usr/lib64, /usr/lib/TRIPLET, /usr/local/lib. */
const isLibraryFolder = (folder: ExtPath): boolean =>
  /^\/usr\/(local\/)?(lib|lib32|lib64|libx32)(\/[a-z0-9_]+-linux-[a-z0-9]+)?$/.test(folder);

function scriptEntry(rootfs: Rootfs, entry: Entry, node: RootNode): FlixwrapError {
  const line = Buffer.from(rootfs.open(node).read(0, 256)).toString("utf8").split("\n")[0]!;
  return new FlixwrapError("wrap-script", {
    what: "a script cannot be an entry of flix",
    where: entry.source,
    got: line,
    hint: "use flatwrap, which brings its interpreter along",
  });
}

const programFolders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

function missingEntries(rootfs: Rootfs, missing: readonly RootPath[]): FlixwrapError {
  const alike = missing.flatMap((path) => programFolders.map((folder) => rootPath(`${folder}/${baseName(path)}`)));
  const suggestion = alike.find((path) => rootfs.resolve(path) !== undefined);
  return new FlixwrapError("wrap-entry-missing", {
    what: missing.length === 1 ? "no such path in the image" : "no such paths in the image",
    where: rootfs.description,
    got: missing.join(", "),
    ...(suggestion === undefined ? {} : { hint: `the image has ${suggestion}` }),
  });
}
