import { FlixwrapError } from "../../core/errors.ts";
import { extPath, isWithin, type RootPath } from "../../core/paths.ts";
import { readPackages } from "../../extension/packages/read.ts";
import { type Closure, findPluginFolders, type LoadedObject } from "../../loader/index.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { type LateOptions, resolveSelection } from "../flix/needs.ts";
import { findInterpreter } from "../flix/scripts.ts";
import { type SelectedFile, selectEntries } from "../flix/selection.ts";
import { sysrootAt } from "../flix/sysroot.ts";
import { verifyClosure } from "../flix/verify.ts";
import type { ExplainedFile, Explanation, Need } from "./explanation.ts";
import { findNamedLibraries, hintAtPlugins } from "./hints.ts";
import { weigh } from "./weigh.ts";

/**
 * Explains what `flix` would take for these paths, by the same selection and the same search.
 * @throws FlixwrapError `wrap-entry-missing` and the like, where there is nothing to explain.
 */
export function explain(rootfs: Rootfs, paths: readonly RootPath[], options: LateOptions = {}): Explanation {
  // Inside of a private folder every kind of file may stand, so that a library by itself can be explained, too.
  const sysroot = sysrootAt(extPath("/usr/lib/flixwrap/explain"), rootfs);
  const entries = paths.map((source) => ({ source, target: sysroot.mirror(source) }));
  const selection = selectEntries(rootfs, entries, sysroot);
  const closure = resolveSelection(rootfs, selection, options);

  const asked = entries.map(({ source, target }) => ({
    path: source,
    files: unique(selection.files.filter(({ to }) => isWithin(to, target)).map(({ node }) => node.path)),
  }));
  const files = listFiles(rootfs, selection.files, closure);
  const brought = weigh(
    files,
    asked.flatMap((one) => one.files),
  );
  const explained = files.map((file) => ({ ...file, brings: brought.get(file.path) ?? file.size }));
  const shipped = new Set(selection.files.map(({ node }) => node.identity));
  const refusal = refusalOf(rootfs, closure);
  return {
    image: rootfs.description,
    asked,
    files: explained,
    packages: sumPackages(explained),
    size: explained.reduce((sum, { size }) => sum + size, 0),
    ...(refusal === undefined ? {} : { refusal }),
    warnings: [...selection.warnings, ...closure.warnings],
    hints: [
      ...hintAtPlugins(rootfs, findPluginFolders(rootfs, closure), shipped),
      ...findNamedLibraries(closure, (late) => resolveSelection(rootfs, selection, options, late)),
    ],
  };
}

type Weightless = Omit<ExplainedFile, "brings">;

function listFiles(rootfs: Rootfs, selected: readonly SelectedFile[], closure: Closure): Weightless[] {
  const needs = needsOf(closure);
  const { ownerOf } = readPackages(rootfs);
  const describe = (
    node: RootNode,
    role: Weightless["role"],
    own: readonly Need[],
    found: readonly RootPath[] = [],
  ) => {
    const owner = [node.path, ...found].map(ownerOf).find((one) => one !== undefined);
    return {
      path: node.path,
      role,
      size: node.size,
      ...(owner === undefined ? {} : { package: { type: owner.type, name: owner.name, version: owner.version } }),
      alias: found.filter((path) => path !== node.path),
      needs: own,
    };
  };
  const files = new Map<RootPath, Weightless>();
  const loaded = new Map(closure.objects.map((object) => [object.node.path, object]));
  const add = (file: Weightless): void => {
    if (!files.has(file.path)) files.set(file.path, file);
  };
  const addObject = ({ node, role, foundAs }: LoadedObject): void =>
    add(describe(node, role === "interpreter" ? "loader" : role, needs.get(node.path) ?? [], foundAs));
  for (const file of selected) {
    const object = loaded.get(file.node.path);
    if (file.role === "script") add(describe(file.node, "script", [interpreterOf(rootfs, file)]));
    else if (object === undefined) add(describe(file.node, "data", []));
    else addObject(object);
  }
  for (const object of closure.objects) addObject(object);
  return [...files.values()];
}

function interpreterOf(rootfs: Rootfs, { node, shebang }: SelectedFile & { readonly role: "script" }): Need {
  const { path } = findInterpreter(rootfs, node, shebang);
  const found = rootfs.resolve(path);
  return { name: shebang.interpreter, ...(found && { path: found.path, rule: { kind: "shebang" } }) };
}

/** What each object asks for: the closure's reasons, turned around. */
function needsOf({ objects, missing }: Closure): Map<RootPath, Need[]> {
  const needs = new Map<RootPath, Need[]>();
  const add = (asker: RootPath, need: Need): void => void needs.set(asker, [...(needs.get(asker) ?? []), need]);
  for (const { node, reasons } of objects) {
    for (const { neededBy, name, rule, dlopen } of reasons) {
      add(neededBy, { name, path: node.path, rule, ...(dlopen === undefined ? {} : { late: dlopen }) });
    }
  }
  for (const { neededBy, name } of missing) add(neededBy, { name });
  return needs;
}

function refusalOf(rootfs: Rootfs, closure: Closure): readonly string[] | undefined {
  try {
    verifyClosure(rootfs, closure);
  } catch (error) {
    if (error instanceof FlixwrapError) return error.message.split("\n");
    throw error;
  }
  return undefined;
}

function sumPackages(files: readonly ExplainedFile[]): Explanation["packages"] {
  const sums = new Map<string, { name: string; files: number; size: number }>();
  for (const { package: owner, size } of files) {
    const name = owner?.name ?? "";
    const sum = sums.get(name) ?? { name, files: 0, size: 0 };
    sums.set(name, { name, files: sum.files + 1, size: sum.size + size });
  }
  return [...sums.values()].sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
}

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];
