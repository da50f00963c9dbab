import { architectureOfElf } from "../../core/architectures.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { baseName, type RootPath, rootPath } from "../../core/paths.ts";
import type { ElfFile } from "../../elf/index.ts";
import { type MissingLibrary, resolveClosure } from "../../loader/index.ts";
import { backedRootfs, childPath } from "../../oci/backed-rootfs.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { papersFolder, parseManifest } from "../manifest.ts";
import { type Finding, found } from "./finding.ts";
import type { ElfNode, Release, Subject } from "./subject.ts";

/** Machine of every program against ARCHITECTURE=. Files that run nowhere (firmware, BPF) have no row and pass. */
export function* checkArchitecture({ elfFiles, architecture, releases, privateRootOf }: Subject): Iterable<Finding> {
  const wanted = architecture();
  const machines = new Set<string>();
  for (const { node, elf, problem } of elfFiles()) {
    if (elf === undefined) {
      yield found("elf-damaged", "warning", node.path, { problem: problem ?? "" });
      continue;
    }
    const row = architectureOfElf(elf);
    if (row === undefined || node.path.startsWith("/usr/lib/firmware/")) continue;
    if (isProgram(elf) && privateRootOf(node.path) === undefined) machines.add(row.systemd);
    // A 64-bit host runs its 32-bit programs.
    const fits =
      wanted === undefined ||
      row === wanted ||
      `${row.systemd}-64` === wanted.systemd ||
      (row.systemd === "arm" && wanted.systemd === "arm64");
    if (!fits) yield found("elf-architecture", "error", node.path, { got: row.systemd, wanted: wanted.systemd });
  }
  const [release] = releases();
  const named = release?.fields.get("ARCHITECTURE");
  if (release !== undefined && machines.size > 0 && (named === undefined || named === "_any"))
    yield found("elf-any", "warning", release.node.path, { got: [...machines].join(", ") });
}

/** What the kernel starts through a loader; libc.so.6 can be started, too, but is a library by its soname. */
const isProgram = (elf: ElfFile): boolean => elf.interpreter !== undefined && elf.soname === undefined;

/**
 * Every program's loader and libraries lie inside the extension; programs of a private root are looked at from
 * within it.
 */
export function* checkClosure({ rootfs, elfFiles, releases, privateRootOf }: Subject): Iterable<Finding> {
  const fromHost = hostLibraries(rootfs, releases());
  const byRoot = new Map<RootPath | undefined, ElfNode[]>();
  for (const file of elfFiles()) {
    if (file.elf === undefined || !isProgram(file.elf)) continue;
    const root =
      rootfs.resolve(rootPath(file.elf.interpreter!)) === undefined ? privateRootOf(file.node.path) : undefined;
    byRoot.set(root, [...(byRoot.get(root) ?? []), file]);
  }
  for (const [root, files] of byRoot) {
    const view = root === undefined ? rootfs : subRootfs(rootfs, root);
    const inside = (path: RootPath) => (root === undefined ? path : rootPath(path.slice(root.length)));
    const programs = files.map(({ node }) => inside(node.path));
    for (const one of resolveEach(view, programs))
      if ("problem" in one) yield found("elf-damaged", "warning", `${root ?? ""}${one.path}`, { problem: one.problem });
      else yield missingLibrary(one, `${root ?? ""}${one.neededBy}`, root === undefined ? fromHost : new Set());
  }
}

/** All programs share one closure; where one of them cannot be followed, each is looked at alone. */
function* resolveEach(
  view: Rootfs,
  programs: readonly RootPath[],
): Iterable<MissingLibrary | { readonly path: RootPath; readonly problem: string }> {
  try {
    yield* resolveClosure(view, programs).missing;
  } catch (error) {
    if (!(error instanceof FlixwrapError)) throw error;
    const [first] = programs;
    if (programs.length === 1) yield { path: first!, problem: error.message };
    else for (const program of programs) yield* resolveEach(view, [program]);
  }
}

/** What the extension's own manifest says that the host brings; a recipe of upstream's programs says so. */
function hostLibraries(rootfs: Rootfs, releases: Iterable<Release>): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { suffix } of releases) {
    const node = rootfs.lookup(rootPath(`${papersFolder(suffix)}/manifest.json`));
    if (node?.type !== "file") continue;
    const manifest = parseManifest(Buffer.from(rootfs.open(node).read(0, 1 << 20)).toString("utf8"));
    for (const name of manifest?.hostLibraries ?? []) names.add(name);
  }
  return names;
}

function missingLibrary({ name, searched }: MissingLibrary, path: string, fromHost: ReadonlySet<string>): Finding {
  const isLoader = searched.some(({ rule }) => rule === "interpreter");
  const severity = fromHost.has(baseName(name)) ? "note" : "error";
  return found(isLoader ? "elf-interpreter" : "elf-library", severity, path, {
    name,
    searched: searched.map(({ folder }) => folder).join(":") || "nowhere",
  });
}

/** A folder as a root of its own, as chroot(2) would show it. */
function subRootfs(rootfs: Rootfs, folder: RootPath): Rootfs {
  interface Place {
    readonly type: RootNode["type"];
    readonly target?: string;
    readonly node: RootNode;
  }
  const place = (node: RootNode): Place => ({
    type: node.type,
    node,
    ...(node.target === undefined ? {} : { target: node.target }),
  });
  return backedRootfs<Place>({
    description: `${rootfs.description}, ${folder}`,
    root: place(rootfs.lookup(folder)!),
    child: (parent, name) => {
      const child = rootfs.lookup(childPath(parent.node.path, name));
      return child && place(child);
    },
    names: ({ node }) => rootfs.list(node.path),
    describe: ({ node }, path) => ({ ...node, path }),
    open: ({ node }) => rootfs.open(node),
  });
}
