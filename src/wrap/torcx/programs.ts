import { architectureOfElf } from "../../core/architectures.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { baseName, type ExtPath, parentOf, type RootPath } from "../../core/paths.ts";
import { type ElfFile, isElf, readElf } from "../../elf/index.ts";
import type { Action } from "../../extension/plan.ts";
import type { Rootfs } from "../../oci/rootfs.ts";
import { isLibraryFolder } from "../entry.ts";
import { planFlix } from "../flix/plan.ts";
import type { PlacedFile } from "./contents.ts";
import { wordList } from "./manifest.ts";

/** The image's ELF files and how each is shipped. */
export interface TorcxPrograms {
  readonly actions: readonly Action[];
  readonly warnings: readonly string[];
  /** Everything that is no longer to be copied as it is. */
  readonly settled: ReadonlySet<ExtPath>;
  /** Libraries that are not shipped under their names. */
  readonly lost: ReadonlySet<RootPath>;
  /** Those that tell for which machine the image is. */
  readonly elfs: readonly ElfFile[];
}

/** Parts of the C library: a second one in the host's folders would be the end of the host. */
const cLibrary =
  /^(ld-.*|ld64|ld|lib(c|m|dl|rt|pthread|resolv|util|nsl|nss_\w+|anl|BrokenLocale|thread_db))[-.].*so|^libc\.musl/;

/**
 * Dynamic programs are converted by Flix when the image holds their loader and libraries; the others are told and
 * stay as they are. Libraries in the folders of the host's loader are shipped only for those others.
 */
export function planPrograms(
  rootfs: Rootfs,
  files: readonly PlacedFile[],
  options: { readonly name: string; readonly prefix: ExtPath },
): TorcxPrograms {
  const warnings: string[] = [];
  const elves = files.flatMap((file) => {
    const elf = readHeader(rootfs, file, warnings);
    return elf === undefined ? [] : [{ ...file, elf }];
  });
  // glibc's libc.so.6 names an interpreter, too: it can be run.
  const dynamic = elves.filter(({ elf, to }) => elf.interpreter !== undefined && !isLibrary(to));
  const problems = findProblems(rootfs, dynamic, options);
  for (const [{ node }, problem] of problems)
    warnings.push(`${node.path} is dynamic and stays as it is, the host must have its libraries: ${problem}`);
  const served = dynamic.filter((program) => !problems.has(program));
  const flix = served.length === 0 ? undefined : planFlix(rootfs, served.map(entryOf), options);

  const libraries = elves.filter(({ to }) => isLibrary(to));
  const kept = problems.size === 0 ? [] : libraries.filter(({ to }) => !cLibrary.test(baseName(to)));
  const dropped = libraries.filter((one) => !kept.includes(one));
  if (kept.length > 0)
    warnings.push(`stand where the host's loader looks and may hide the host's: ${wordList(kept.map(({ to }) => to))}`);
  if (dropped.length > 0)
    warnings.push(`not put into the host's folders of libraries: ${wordList(dropped.map(({ node }) => node.path))}`);
  return {
    actions: flix?.actions ?? [],
    warnings: [...warnings, ...(flix?.warnings ?? [])],
    settled: new Set([...served, ...dropped].map(({ to }) => to)),
    lost: new Set(dropped.map(({ node }) => node.path)),
    // A program for eBPF has a machine that no host is.
    elfs: elves.map(({ elf }) => elf).filter((elf) => architectureOfElf(elf) !== undefined),
  };
}

/** Whether it is a library by its name, where every program of the host finds it. */
const isLibrary = (to: ExtPath): boolean => isLibraryFolder(parentOf(to)) && /\.so(\.|$)/.test(baseName(to));

const entryOf = ({ node, to }: PlacedFile) => ({ source: node.path, target: to });

function readHeader(rootfs: Rootfs, { node }: PlacedFile, warnings: string[]): ElfFile | undefined {
  const source = rootfs.open(node);
  if (!isElf(source)) return undefined;
  try {
    return readElf(source, node.path);
  } catch (error) {
    if (!(error instanceof FlixwrapError)) throw error;
    warnings.push(`${node.path} is copied as it is: ${error.message}`);
    return undefined;
  }
}

/** What keeps Flix from serving each of the programs, on one line; most images have no such program. */
function findProblems(
  rootfs: Rootfs,
  programs: readonly PlacedFile[],
  options: Parameters<typeof planFlix>[2],
): ReadonlyMap<PlacedFile, string> {
  const problemOf = (some: readonly PlacedFile[]): string | undefined => {
    try {
      planFlix(rootfs, some.map(entryOf), options);
      return undefined;
    } catch (error) {
      if (!(error instanceof FlixwrapError)) throw error;
      return error.message.replace(/\s*\n\s*/g, "; ");
    }
  };
  if (programs.length === 0 || problemOf(programs) === undefined) return new Map();
  return new Map(
    programs.flatMap((program): [PlacedFile, string][] => {
      const problem = problemOf([program]);
      return problem === undefined ? [] : [[program, problem]];
    }),
  );
}
