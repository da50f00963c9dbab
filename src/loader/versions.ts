import type { RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import { type DefinedVersion, readDefinedVersions, readNeededVersions } from "../elf/versions.ts";
import type { Closure } from "./closure.ts";
import { providersOf } from "./providers.ts";

/** A symbol version that an object needs and its provider lacks: glibc refuses to start the program. */
export interface MissingVersion {
  /** Real path of the object that needs it. */
  readonly object: RootPath;
  /** As in `GLIBC_2.38`. */
  readonly version: string;
  /** The DT_NEEDED name whose object must define it. */
  readonly name: string;
  /** Real path of the object that answers to that name. */
  readonly provider: RootPath;
}

/**
 * Checks the versions that all objects need of each other, in every process of the closure, as glibc does before it
 * starts a program (elf/dl-version.c). musl never looks at them.
 */
export function checkVersions(closure: Closure): readonly MissingVersion[] {
  const objects = new Map(closure.objects.map((object) => [object.node.path, object]));
  const defined = new Map<RootPath, ReadonlySet<string> | undefined>();
  const definedBy = (path: RootPath): ReadonlySet<string> | undefined => {
    if (!defined.has(path)) defined.set(path, versionNames(objects.get(path)?.elf));
    return defined.get(path);
  };
  const found = new Map<string, MissingVersion>();
  for (const { object, name, provider } of providersOf(closure, "glibc")) {
    const versions = definedBy(provider);
    // An object without versions serves every request: it was built otherwise than the one linked against.
    if (versions === undefined) continue;
    for (const version of neededOf(objects.get(object)!.elf, name)) {
      if (!versions.has(version)) found.set(`${object}\0${version}\0${provider}`, { object, version, name, provider });
    }
  }
  return [...found.values()];
}

/** The line that glibc's loader prints for it. */
export const wordMissingVersion = ({ object, version, provider }: MissingVersion): string =>
  `${provider}: version \`${version}' not found (required by ${object})`;

/** Names of the versions that `elf` needs of `file` and cannot do without. */
function neededOf(elf: ElfFile, file: string): readonly string[] {
  return neededVersions(elf)
    .filter((needed) => needed.file === file)
    .flatMap(({ versions }) => versions.filter(({ weak }) => !weak).map(({ name }) => name));
}

const read = new WeakMap<ElfFile, ReturnType<typeof readNeededVersions>>();

function neededVersions(elf: ElfFile): ReturnType<typeof readNeededVersions> {
  const versions = read.get(elf) ?? readNeededVersions(elf);
  read.set(elf, versions);
  return versions;
}

/** VER_FLG_BASE counts too: the loader compares every record. Undefined for an object without DT_VERDEF. */
function versionNames(elf: ElfFile | undefined): ReadonlySet<string> | undefined {
  const versions: readonly DefinedVersion[] = elf === undefined ? [] : readDefinedVersions(elf);
  return versions.length === 0 ? undefined : new Set(versions.map(({ name }) => name));
}
