import { FlixwrapError } from "../../core/errors.ts";
import { baseName, type ExtPath, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import { type ElfEdits, planEdits } from "../../elf/index.ts";
import type { Action, Plan } from "../../extension/plan.ts";
import { type Closure, type LoadedObject, loaderFamily } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import type { Entry } from "../entry.ts";
import { relativeLink } from "../links.ts";
import { warnOfStarted } from "./binaries.ts";
import { buildGraph, type NeedGraph } from "./graph.ts";
import { verifyKernel } from "./kernel.ts";
import { sealLoader } from "./loaders.ts";
import { type LateOptions, resolveSelection } from "./needs.ts";
import { warnOfPlugins } from "./plug-ins.ts";
import { findPrivateFolders, linkPrivateFolder, type PrivateFolder, redirect } from "./private-folders.ts";
import { type Misdirected, provePlan } from "./proof.ts";
import { foldersOf, runPathInside, runPathOutside, setRunPath } from "./run-path.ts";
import { rewriteScript } from "./scripts.ts";
import { type Selection, selectEntries } from "./selection.ts";
import { type Sysroot, sysrootAt } from "./sysroot.ts";
import { verifyClosure } from "./verify.ts";

/** How {@link planFlix} makes an extension. */
export interface FlixOptions extends LateOptions {
  readonly name: string;
  /** Folder for the private files; they go to `PREFIX/NAME`. */
  readonly prefix: ExtPath;
  /** Paths or patterns of programs that the entries start: each comes along at its own path. */
  readonly binaries?: readonly string[];
  /** The oldest Linux of the hosts: `6.1`. */
  readonly kernel?: string;
}

/** What Flix plans, and the closure it rests on. */
export interface FlixPlan extends Plan {
  readonly closure: Closure;
}

/**
 * Plans an extension that holds the entries with their loaders and libraries in a private sysroot.
 * @throws FlixwrapError `wrap-…` for entries that cannot be served, `loader-…` for a closure that would fail on the host.
 */
export function planFlix(rootfs: Rootfs, entries: readonly Entry[], options: FlixOptions): FlixPlan {
  const sysroot = sysrootAt(join(options.prefix, options.name), rootfs);
  const selection = selectEntries(rootfs, entries, sysroot, options.binaries);
  const closure = resolveSelection(rootfs, selection, options);
  verifyClosure(rootfs, closure);
  verifyKernel(selection, closure, options.kernel);

  const { hwcaps = "all" } = options;
  const places = [...selection.files, ...selection.folders].map(({ to }) => to);
  const privateFolders = findPrivateFolders(places, sysroot);
  const graph = buildGraph(closure);
  const layout: Layout = { closure, graph, sysroot, selection, privateFolders, hwcaps, explicit: new Set() };
  const warnings = [
    ...selection.warnings,
    ...closure.warnings,
    ...warnOfPlugins(rootfs, closure, selection),
    ...warnOfStarted(rootfs, closure, selection),
  ];
  const plan = (actions: readonly Action[]): FlixPlan => ({ source: rootfs, actions, warnings, closure });

  const simple = plan(layOut(rootfs, layout));
  const misdirected = provePlan(simple, layout);
  if (misdirected.length === 0) return simple;
  // Of two libraries of one name, an inherited run path gave somebody the wrong one: whoever asks for it names its folders itself.
  const explicit = new Set(misdirected.map(({ neededBy }) => neededBy));
  const exact = plan(layOut(rootfs, { ...layout, explicit }));
  const remaining = provePlan(exact, layout);
  if (remaining.length > 0) throw unservable(remaining);
  return exact;
}

/** Everything that decides where a file goes and how it is edited. */
export interface Layout {
  readonly closure: Closure;
  readonly graph: NeedGraph;
  readonly sysroot: Sysroot;
  readonly selection: Selection;
  readonly privateFolders: readonly PrivateFolder[];
  readonly hwcaps: NonNullable<FlixOptions["hwcaps"]>;
  /** Objects that must name the folders of their direct needs themselves. */
  readonly explicit: ReadonlySet<RootPath>;
}

function layOut(rootfs: Rootfs, layout: Layout): Action[] {
  const { closure, selection } = layout;
  const objects = new Map(closure.objects.map((object) => [object.node.path, object]));
  const chosen = selection.files.map((file): Action => {
    const { node, to, why } = file;
    switch (file.role) {
      case "plain":
        return { kind: "copy", from: node, to, why };
      case "script":
        return { kind: "write", to, content: rewriteScript(rootfs, file), mode: node.mode, why };
      case "program":
      case "library":
        return placeOutside(objects.get(node.path)!, { to, why }, layout);
    }
  });
  const inside = closure.objects
    .filter(({ reasons }) => reasons.length > 0)
    .flatMap((object) => placeInside(object, layout));
  // A plug-in of a private folder that another one needs, too, stands there already.
  const places = new Set(chosen.map(({ to }) => to));
  return [
    ...selection.folders.map((folder): Action => ({ kind: "directory", ...folder })),
    ...selection.links.map((link): Action => ({ kind: "symlink", ...link })),
    ...chosen,
    ...inside.filter(({ to }) => !places.has(to)),
    ...layout.privateFolders.map((folder) => linkPrivateFolder(folder)),
    ...planPathFiles(layout),
  ];
}

/** A program or library at the place the user chose. */
function placeOutside(object: LoadedObject, place: Place, layout: Layout): Action {
  const { closure, graph, sysroot } = layout;
  const family = familyOf(object, closure);
  const { interpreter } = object.elf;
  return patchAction(
    object,
    {
      ...runPathOutside(object, family, graph, sysroot),
      ...(interpreter === undefined ? {} : { interpreter: sysroot.mirrorFound(rootPath(interpreter)) }),
      ...(family === "glibc" ? { noDefaultLib: true } : {}),
    },
    place,
    layout,
  );
}

/** A library or loader in the sysroot, with a link for every other name it was found under. */
function placeInside(object: LoadedObject, layout: Layout): Action[] {
  const { closure, graph, sysroot, explicit } = layout;
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
  const edits = explicit.has(object.node.path)
    ? setRunPath([...graph.needs(object), ...graph.foundByRunPathOf(object)], sysroot)
    : runPathInside(object, familyOf(object, closure), graph, sysroot);
  return [patchAction(object, edits, { to, why }, layout), ...links];
}

/** musl reads its folders from `../etc/ld-musl-ARCH.path` as seen from where its loader stands (ldso/dynlink.c). */
function planPathFiles({ closure, sysroot }: Layout): Action[] {
  const loaders = closure.objects.filter(({ role, elf }) => role === "interpreter" && loaderFamily(elf) === "musl");
  return loaders.flatMap((loader) => {
    const users = new Set(
      closure.processes.filter((one) => one.loader === loader.node.path).flatMap((one) => one.objects),
    );
    const folders = foldersOf(
      closure.objects.filter(({ node }) => users.has(node.path)),
      sysroot,
    );
    const content = Buffer.from(`${folders.join("\n")}\n`);
    return loader.foundAs.map((path): Action => {
      const place = sysroot.mirrorFound(path);
      const to = join(parentOf(parentOf(place)), "etc", baseName(place).replace(/\.so\.1$/, ".path"));
      return { kind: "write", to, content, mode: 0o644, why: "the folders that the private musl loader searches" };
    });
  });
}

interface Place {
  readonly to: ExtPath;
  readonly why: string;
}

function patchAction(object: LoadedObject, edits: ElfEdits, place: Place, { privateFolders }: Layout): Action {
  const { node, elf } = object;
  // Nobody strips the result (strip breaks such files), so even the program header table may move, for 1 MiB of padding at the most.
  const planned =
    Object.keys(edits).length === 0
      ? { writes: [], size: node.size, changes: [] }
      : planEdits(elf, edits, { padding: 1 << 20 });
  const led = redirect(elf, privateFolders);
  const writes = [...planned.writes, ...led.writes].toSorted((a, b) => a.offset - b.offset);
  if (writes.length === 0) return { kind: "copy", from: node, ...place };
  return {
    kind: "patch",
    from: node,
    ...place,
    writes,
    size: planned.size,
    edits: [...planned.changes, ...led.changes],
  };
}

/** The family of the loader that maps the object; one that needs nothing may be in any process. */
function familyOf(object: LoadedObject, { processes }: Closure): "glibc" | "musl" {
  return processes.find(({ objects }) => objects.includes(object.node.path))?.family ?? "glibc";
}

function wordReason({ reasons, role }: LoadedObject): string {
  const [{ neededBy, name, rule } = { neededBy: "", name: "", rule: { kind: "loaded" as const } }, ...others] = reasons;
  const how = "folder" in rule ? `${rule.kind} ${rule.folder}` : rule.kind;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return role === "interpreter" ? `loader of ${neededBy}${more}` : `${name} needed by ${neededBy}${more} (${how})`;
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
