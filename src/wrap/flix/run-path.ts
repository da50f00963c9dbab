import { baseName, type ExtPath, join, parentOf, type RootPath, rootPath } from "../../core/paths.ts";
import type { ElfEdits } from "../../elf/index.ts";
import type { LoadedObject } from "../../loader/closure.ts";
import type { NeedGraph } from "./graph.ts";
import type { Sysroot } from "./sysroot.ts";

type RunPathEdit = Pick<ElfEdits, "runPath">;

/**
 * The run path of an object that stands outside of the sysroot, at a place of the user's choice.
 *
 * glibc: a DT_RPATH to every folder that holds something it reaches. DT_RPATH, because it comes before
 * `LD_LIBRARY_PATH` and is inherited by everything loaded below, so that untouched libraries and dlopen find
 * theirs through it (elf/dl-load.c, _dl_map_new_object: the chain of l_loader).
 *
 * musl: the path file beside the private loader has the folders; only a run path of the object's own must move into
 * the sysroot.
 */
export function runPathOutside(
  object: LoadedObject,
  family: "glibc" | "musl",
  graph: NeedGraph,
  sysroot: Sysroot,
): RunPathEdit {
  const own = graph.foundByRunPathOf(object);
  if (family === "glibc") return setRunPath([...own, ...graph.needs(object), ...graph.reach(object)], sysroot);
  return hasRunPath(object) ? setRunPath(own, sysroot) : {};
}

/**
 * The run path of an object inside of the sysroot. Without one of its own it stays as it is, byte for byte.
 * A DT_RUNPATH would end the inheritance (glibc, elf/dl-load.c), so it becomes a DT_RPATH; a text that is
 * relative to the object stays right, because the sysroot mirrors the root.
 */
export function runPathInside(
  object: LoadedObject,
  family: "glibc" | "musl",
  graph: NeedGraph,
  sysroot: Sysroot,
): RunPathEdit {
  const { rpath, runpath } = object.elf;
  const text = runpath ?? rpath;
  if (text === undefined) return {};
  if (!isRelative(text)) return setRunPath(graph.foundByRunPathOf(object), sysroot);
  return family === "musl" || runpath === undefined ? {} : { runPath: { kind: "rpath", value: text } };
}

/** A DT_RPATH to the folders of the given libraries; none when there are none. */
export function setRunPath(libraries: readonly LoadedObject[], sysroot: Sysroot): RunPathEdit {
  const value = foldersOf(libraries, sysroot).join(":");
  return { runPath: value === "" ? null : { kind: "rpath", value } };
}

/** Where the sysroot has the given libraries, each folder once. */
export function foldersOf(objects: readonly LoadedObject[], sysroot: Sysroot): readonly ExtPath[] {
  const libraries = objects.filter(({ role }) => role === "library");
  // Its glibc-hwcaps sub-folders belong to a folder: the loader looks there first, if the processor can.
  const folderOf = (path: RootPath): RootPath => rootPath(parentOf(path).replace(/\/glibc-hwcaps\/[^/]+$/, ""));
  const places = libraries.flatMap(({ foundAs }) =>
    foundAs.map((path) => sysroot.mirrorFound(join(folderOf(path), baseName(path)))),
  );
  return [...new Set(places.map((place) => parentOf(place)))];
}

const hasRunPath = ({ elf }: LoadedObject): boolean => elf.rpath !== undefined || elf.runpath !== undefined;

const isRelative = (runPath: string): boolean =>
  runPath.split(":").every((entry) => /^\$(ORIGIN|\{ORIGIN\})(\/|$)/.test(entry));
