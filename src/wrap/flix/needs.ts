import { defined } from "../../core/defined.ts";
import type { RootPath } from "../../core/paths.ts";
import { type Closure, type DlopenLevel, resolveClosure, type ResolveOptions } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { findLibraries, knownRequests } from "./late.ts";
import type { SelectedFile, Selection } from "./selection.ts";

/** Where programs look for libraries first, and what they load late, by dlopen(3). */
export interface LateOptions {
  /** Folders of the image's own LD_LIBRARY_PATH. */
  readonly libraryPath?: readonly string[];
  /** Paths or patterns of libraries that the programs load. */
  readonly libraries?: readonly string[];
  /** How much of what objects declare in `.note.dlopen` comes along. */
  readonly dlopen?: DlopenLevel;
  /** Which `glibc-hwcaps` variants of libraries come along, for newer processors: all of them by default. */
  readonly hwcaps?: "all" | "baseline";
}

/**
 * The closure of a selection, with what is known, declared or asked for to be loaded late; `further` are requests
 * of the caller's own.
 * @throws FlixwrapError `wrap-lib-missing` for a pattern that means nothing.
 */
export function resolveSelection(
  rootfs: Rootfs,
  selection: Selection,
  options: LateOptions,
  further: NonNullable<ResolveOptions["late"]> = () => [],
): Closure {
  const late = [...new Set((options.libraries ?? []).flatMap((pattern) => findLibraries(rootfs, pattern)))];
  return resolveClosure(rootfs, pathsOf(selection, "program"), {
    libraries: pathsOf(selection, "library"),
    hwcaps: options.hwcaps ?? "all",
    ...defined({ dlopen: options.dlopen, libraryPath: options.libraryPath }),
    late: (object) => [
      ...knownRequests(rootfs, object),
      ...(object.elf.interpreter === undefined
        ? []
        : late.map((path) => ({ names: [path], required: true, why: "--lib" }))),
      ...further(object),
    ],
  });
}

const pathsOf = ({ files }: Selection, role: SelectedFile["role"]): RootPath[] => [
  ...new Set(files.filter((file) => file.role === role).map(({ node }) => node.path)),
];
