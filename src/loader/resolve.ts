import { FlixwrapError } from "../core/errors.ts";
import type { RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import type { Closure } from "./closure.ts";
import { type DlopenLevel, declaredRequests } from "./dlopen.ts";
import type { LoaderFacts } from "./facts.ts";
import { GrowingClosure } from "./growing-closure.ts";
import { hwcapsProcessors } from "./hwcaps.ts";
import { indexFolders } from "./ldconfig.ts";
import { openLoaders } from "./loaders.ts";
import { openLocator } from "./locate.ts";
import { openObjects } from "./objects.ts";
import { type LateRequest, type LoadedProcess, loadProcess } from "./process.ts";
import type { Asker, SearchWorld } from "./world.ts";

/** What {@link resolveClosure} looks for beside the programs. */
export interface ResolveOptions {
  /** Shared libraries and plug-ins that are wanted by themselves, each loaded as `ld.so --list` would. */
  readonly libraries?: readonly RootPath[];
  /**
   * Which `glibc-hwcaps` variants come along: `baseline` none (what every processor loads), `all` those of every
   * processor, or the levels of one processor, best first.
   */
  readonly hwcaps?: "baseline" | "all" | readonly string[];
  /** How much of what the objects themselves declare to load by dlopen(3) comes along; `recommended` by default. */
  readonly dlopen?: DlopenLevel;
  /** What objects are known to load by dlopen(3) though they do not declare it; asked once for every loaded object. */
  readonly late?: (object: Pick<Asker, "node" | "elf">) => readonly LateRequest[];
  /** Folders of the LD_LIBRARY_PATH that all programs are started with. */
  readonly libraryPath?: readonly string[];
  /** Where relative run paths start; without it they find nothing (a process's folder is not known here). */
  readonly workingFolder?: RootPath;
  /** Facts of an object that are not (yet) those of its bytes; undefined reads the bytes. */
  readonly readObject?: (node: RootNode) => ElfFile | undefined;
  /** Corrects what was read about a loader, e.g. for a private one that is given no cache. */
  readonly facts?: (facts: LoaderFacts) => LoaderFacts;
}

/**
 * Finds every object that the loaders of `programs` map at start, as the loaders of that root do.
 * What cannot be found is collected in `missing`, not thrown.
 * @throws FlixwrapError `loader-no-program` for a program that is not in the root; `elf-*` for one that is no ELF file.
 */
export function resolveClosure(rootfs: Rootfs, programs: readonly RootPath[], options: ResolveOptions = {}): Closure {
  const closure = new GrowingClosure();
  const locate = openLocator(rootfs, options.workingFolder);
  const objects = openObjects(rootfs, options.readObject ?? (() => undefined));
  const loaders = openLoaders(rootfs, locate, objects, options.facts ?? ((facts) => facts));

  const open = (path: RootPath, role: "program" | "library"): Asker => {
    const location = locate(path);
    if (location.kind !== "node")
      throw new FlixwrapError("loader-no-program", { what: `no such ${role}`, where: path });
    const { node } = location;
    const elf = objects.read(node);
    closure.add({ node, elf, role, foundAs: location.path });
    // The kernel gives a program the real path of its file; a library's is the path it was opened by.
    return { node, elf, openedAs: role === "program" ? node.path : location.path };
  };
  const late = (object: Asker): readonly LateRequest[] => [
    ...declaredRequests(object, options.dlopen ?? "recommended"),
    ...(options.late?.(object) ?? []),
  ];
  const load = (object: Asker, facts: LoaderFacts): void => {
    const processors = processorsOf(facts, options);
    const loadOn = (levels: readonly string[]): LoadedProcess => {
      const world: SearchWorld = {
        facts,
        levels,
        locate,
        libraryPath: options.libraryPath ?? [],
        openObject: (node) => objects.open(node, facts.elf),
        conf: () => indexFolders(rootfs, facts, (node) => objects.open(node, facts.elf)),
      };
      return loadProcess(world, object, closure, late);
    };
    // The best processor looks wherever the others look: when it met no variant, they load the same.
    const best = processors.length > 1 ? loadOn(processors.at(-1)!) : undefined;
    if (best !== undefined && !best.metVariant) return closure.addProcess({ ...best.process, levels: [] });
    for (const levels of processors) closure.addProcess(loadOn(levels).process);
  };

  for (const path of programs) {
    const program = open(path, "program");
    const { interpreter } = program.elf;
    if (interpreter === undefined) continue;
    const loader = loaders.named(interpreter);
    const request = { neededBy: program.node.path, name: interpreter };
    if (loader === undefined) {
      const folder = interpreter.slice(0, interpreter.lastIndexOf("/")) || "/";
      closure.miss({ ...request, searched: [{ rule: "interpreter", folder }] });
      continue;
    }
    const { node, elf, foundAs } = loader;
    closure.add({ node, elf, role: "interpreter", foundAs, reason: { ...request, rule: { kind: "interpreter" } } });
    load(program, loader);
  }
  for (const path of options.libraries ?? []) {
    const library = open(path, "library");
    const { needed } = library.elf;
    const loader = loaders.forLibrary(library.elf);
    if (loader !== undefined) load(library, loader);
    else for (const name of needed) closure.miss({ name, neededBy: library.node.path, searched: [] });
  }
  return closure.finish();
}

function processorsOf(facts: LoaderFacts, options: ResolveOptions): readonly (readonly string[])[] {
  if (!facts.policy.hwcaps) return [[]];
  const { hwcaps = "baseline" } = options;
  return hwcaps === "baseline" ? [[]] : hwcaps === "all" ? hwcapsProcessors(facts.elf) : [hwcaps];
}
