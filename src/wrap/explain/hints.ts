import { baseName, type RootPath } from "../../core/paths.ts";
import { matchStrings } from "../../elf/index.ts";
import type { Closure, PluginFolder, ResolveOptions } from "../../loader/index.ts";
import type { Rootfs } from "../../oci/rootfs.ts";

/** What may be wanted at run time and nobody declares; only a person or a configuration knows. */
export type Hint =
  | {
      readonly kind: "plug-ins";
      readonly folder: RootPath;
      /** What they are for. */
      readonly why: string;
      /** The objects that name the folder. */
      readonly namedBy: readonly RootPath[];
      /** Shared objects in it that would not be shipped. */
      readonly libraries: readonly RootPath[];
    }
  | {
      readonly kind: "library";
      /** A string that looks like a library's name. */
      readonly name: string;
      /** What the loader would find for it. */
      readonly path: RootPath;
      readonly namedBy: readonly RootPath[];
    };

/** Plug-in folders, one hint each, without what is shipped by itself; `shipped` holds identities. */
export function hintAtPlugins(
  rootfs: Rootfs,
  folders: readonly PluginFolder[],
  shipped: ReadonlySet<string>,
): readonly Hint[] {
  const hints = new Map<RootPath, Extract<Hint, { kind: "plug-ins" }>>();
  for (const { folder, why, object, libraries: all } of folders) {
    const libraries = all.filter((path) => !shipped.has(rootfs.resolve(path)?.identity ?? ""));
    const { namedBy } = hints.get(folder) ?? { namedBy: [] };
    if (libraries.length > 0)
      hints.set(folder, { kind: "plug-ins", folder, why, namedBy: [...namedBy, object], libraries });
  }
  return [...hints.values()];
}

const libraryName = /lib[\w+.-]+\.so(?:\.[\w.]+)?/;

/**
 * Libraries that objects only name in their strings, as dlopen(3) would be given them, and that the image has where the
 * loader looks. `resolve` searches again, with these names as late requests.
 */
export function findNamedLibraries(
  closure: Closure,
  resolve: (late: NonNullable<ResolveOptions["late"]>) => Closure,
): readonly Hint[] {
  const known = new Set(closure.objects.flatMap(namesOf));
  const named = new Map(
    closure.objects.map(({ node, elf }) => [
      node.identity,
      matchStrings(elf, libraryName).filter((name) => !known.has(name)),
    ]),
  );
  const mark = "a string";
  const wider = resolve(({ node }) =>
    (named.get(node.identity) ?? []).map((name) => ({ names: [name], required: false, why: mark })),
  );
  const found = new Map<string, { name: string; path: RootPath; namedBy: RootPath[] }>();
  for (const { node, reasons } of wider.objects) {
    for (const { name, dlopen, neededBy } of reasons) {
      if (dlopen !== mark) continue;
      const hint = found.get(name) ?? { name, path: node.path, namedBy: [] };
      found.set(name, { ...hint, namedBy: [...hint.namedBy, neededBy] });
    }
  }
  const loaded = new Set(closure.objects.map(({ node }) => node.path));
  return [...found.values()].filter(({ path }) => !loaded.has(path)).map((hint) => ({ kind: "library", ...hint }));
}

const namesOf = ({ elf, foundAs, reasons, node }: Closure["objects"][number]): readonly string[] => [
  baseName(node.path),
  ...(elf.soname === undefined ? [] : [elf.soname]),
  ...foundAs.map(baseName),
  ...reasons.map(({ name }) => name),
  ...elf.needed,
];
