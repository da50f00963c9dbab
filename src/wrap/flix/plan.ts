import { FlixwrapError } from "../../core/errors.ts";
import { type ExtPath, join, parentOf, type RootPath } from "../../core/paths.ts";
import { type ElfEdits, planEdits } from "../../elf/index.ts";
import type { Action, Plan } from "../../extension/plan.ts";
import type { Closure, LoadedObject } from "../../loader/closure.ts";
import { explainMissing, loaderFamily, resolveClosure } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Entry } from "../entry.ts";
import { relativeLink } from "../links.ts";
import { buildGraph, type NeedGraph } from "./graph.ts";
import { sealLoader } from "./loaders.ts";
import { type Misdirected, provePlan } from "./proof.ts";
import { foldersOf, runPathInside, runPathOutside, setRunPath } from "./run-path.ts";
import { type SelectedFile, selectEntries } from "./selection.ts";
import { type Sysroot, sysrootAt } from "./sysroot.ts";

export interface FlixOptions {
  readonly name: string;
  /** Folder for the private files; they go to `PREFIX/NAME`. */
  readonly prefix: ExtPath;
}

/** What Flix plans, and the closure it rests on. */
export interface FlixPlan extends Plan {
  readonly closure: Closure;
}

/**
 * Plans an extension that holds the entries with their loaders and libraries in a private sysroot.
 * @throws FlixwrapError `wrap-…` for entries that cannot be served, `loader-library-missing` for all that is missing.
 */
export function planFlix(rootfs: Rootfs, entries: readonly Entry[], options: FlixOptions): FlixPlan {
  const selection = selectEntries(rootfs, entries);
  const paths = (role: SelectedFile["role"]): RootPath[] =>
    selection.files.filter((file) => file.role === role).map(({ node }) => node.path);
  const programs = [...new Set(paths("program"))];
  const libraries = [...new Set(paths("library"))];
  const closure = resolveClosure(rootfs, programs, { libraries });
  if (closure.missing.length > 0) throw missingLibraries(closure);

  const layout: Layout = {
    rootfs,
    closure,
    graph: buildGraph(closure),
    sysroot: sysrootAt(join(options.prefix, options.name), rootfs),
    files: selection.files,
    explicit: new Set(),
  };
  const fixed: Action[] = [
    ...selection.folders.map((folder) => ({ kind: "directory" as const, ...folder })),
    ...selection.links.map((link) => ({ kind: "symlink" as const, ...link })),
  ];
  const warnings = [...selection.warnings, ...closure.warnings];
  const plan = (actions: readonly Action[]): FlixPlan => ({
    source: rootfs,
    actions: [...fixed, ...actions],
    warnings,
    closure,
  });

  const simple = plan(layOut(layout));
  const misdirected = provePlan(simple, layout);
  if (misdirected.length === 0) return simple;
  // Inheritance gives somebody the wrong one of two libraries of one name: those who ask name their folders.
  const explicit = new Set(misdirected.map(({ neededBy }) => neededBy));
  const exact = plan(layOut({ ...layout, explicit }));
  const remaining = provePlan(exact, layout);
  if (remaining.length > 0) throw unservable(remaining);
  return exact;
}

/** Everything that decides where a file goes and how it is edited. */
export interface Layout {
  readonly rootfs: Rootfs;
  readonly closure: Closure;
  readonly graph: NeedGraph;
  readonly sysroot: Sysroot;
  readonly files: readonly SelectedFile[];
  /** Objects that must name the folders of their direct needs themselves. */
  readonly explicit: ReadonlySet<RootPath>;
}

function layOut(layout: Layout): Action[] {
  const { closure, files } = layout;
  const objects = new Map(closure.objects.map((object) => [object.node.path, object]));
  return [
    ...files.map((file) => placeOutside(file, objects.get(file.node.path), layout)),
    ...closure.objects.filter(({ reasons }) => reasons.length > 0).flatMap((object) => placeInside(object, layout)),
    ...planPathFiles(layout),
  ];
}

/** A file at the place the user chose. */
function placeOutside(file: SelectedFile, object: LoadedObject | undefined, layout: Layout): Action {
  const { node, to, why } = file;
  if (file.role === "plain" || object === undefined) return { kind: "copy", from: node, to, why };
  const family = familyOf(object, layout.graph);
  const interpreter = object.elf.interpreter;
  const edits: ElfEdits = {
    ...runPathOutside(object, family, layout.graph, layout.sysroot),
    ...(interpreter === undefined ? {} : { interpreter: layout.sysroot.mirrorFound(interpreter as RootPath) }),
    ...(family === "glibc" ? { noDefaultLib: true } : {}),
  };
  return patchAction(object, edits, { to, why });
}

/** A library or loader in the sysroot, with a link for every other name it was found under. */
function placeInside(object: LoadedObject, layout: Layout): Action[] {
  const { sysroot, graph } = layout;
  const to = sysroot.mirror(object.node.path);
  const why = wordReason(object);
  const links = object.foundAs
    .map((path) => sysroot.mirrorFound(path))
    .filter((path) => path !== to)
    .map((path): Action => ({ kind: "symlink", to: path, target: relativeLink(path, to), why }));
  if (object.role === "interpreter") {
    const { writes, edits } = sealLoader(object.elf);
    return [{ kind: "patch", from: object.node, to, why, writes, edits, size: object.node.size }, ...links];
  }
  const edits = layout.explicit.has(object.node.path)
    ? setRunPath([...graph.needs(object), ...graph.foundByRunPathOf(object)], sysroot)
    : runPathInside(object, familyOf(object, graph), graph, sysroot);
  return [patchAction(object, edits, { to, why }), ...links];
}

/** musl reads its folders from `../etc/ld-musl-ARCH.path` as seen from where its loader stands (ldso/dynlink.c). */
function planPathFiles({ closure, graph, sysroot }: Layout): Action[] {
  const loaders = closure.objects.filter(({ role, elf }) => role === "interpreter" && loaderFamily(elf) === "musl");
  return loaders.flatMap((loader) => {
    const users = closure.objects.filter((object) => graph.reach(object).includes(loader));
    const content = Buffer.from(`${foldersOf(users.flatMap(graph.needs), sysroot).join("\n")}\n`);
    return loader.foundAs.map((path): Action => {
      const place = sysroot.mirrorFound(path);
      const name = place.slice(place.lastIndexOf("/") + 1).replace(/\.so\.1$/, ".path");
      const to = join(parentOf(parentOf(place)), "etc", name);
      return { kind: "write", to, content, mode: 0o644, why: "the folders that the private musl loader searches" };
    });
  });
}

function patchAction(object: LoadedObject, edits: ElfEdits, place: { to: ExtPath; why: string }): Action {
  const { writes, size, changes } = planEdits(object.elf, edits);
  if (writes.length === 0) return { kind: "copy", from: object.node, ...place };
  return { kind: "patch", from: object.node, ...place, writes, size, edits: changes };
}

/** The loader family an object lives under: its own loader's, or that of what it needs. */
function familyOf(object: LoadedObject, graph: NeedGraph): "glibc" | "musl" {
  const loader = graph.reach(object).find(({ role }) => role === "interpreter");
  return loader === undefined ? "glibc" : loaderFamily(loader.elf);
}

function wordReason({ reasons, role }: LoadedObject): string {
  const [{ neededBy, name, rule } = { neededBy: "", name: "", rule: { kind: "loaded" as const } }, ...others] = reasons;
  const how = "folder" in rule ? `${rule.kind} ${rule.folder}` : rule.kind;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return role === "interpreter" ? `loader of ${neededBy}${more}` : `${name} needed by ${neededBy}${more} (${how})`;
}

function missingLibraries(closure: Closure): FlixwrapError {
  const names = new Set(closure.missing.map(({ name }) => name));
  return new FlixwrapError("loader-library-missing", {
    what: `cannot find ${names.size === 1 ? "a library" : `${names.size} libraries`} in the image`,
    got: [...names].join(", "),
    hint: "add the packages that have them to the image",
    items: explainMissing(closure.missing),
  });
}

function unservable(misdirected: readonly Misdirected[]): FlixwrapError {
  return new FlixwrapError("wrap-ambiguous-library", {
    what: "two libraries of one name are needed by one process in a way that run paths cannot express",
    items: misdirected.map(
      ({ neededBy, name, got, wanted }) =>
        `${neededBy} asks for ${name}: gets ${got ?? "nothing"}, should get ${wanted}`,
    ),
    hint: "use flatwrap for this program",
  });
}
