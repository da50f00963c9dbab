import { architectureOfElf } from "../core/architectures.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { ElfFile } from "../elf/file.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { type LoaderFacts, readLoaderFacts } from "./facts.ts";
import type { Machine } from "./header.ts";
import type { Locator } from "./locate.ts";
import type { Objects } from "./objects.ts";

/** The loaders of a root, each read once. */
export interface Loaders {
  /**
   * The loader behind a PT_INTERP string; undefined when nothing is there.
   * @throws FlixwrapError `loader-unknown` when it is neither glibc's nor musl's.
   */
  named(interpreter: string): LoaderFacts | undefined;
  /** The loader under which a library runs that names none: one in use already, else the usual one of the root. */
  forLibrary(elf: ElfFile): LoaderFacts | undefined;
}

/** `correct` has the last word on what was read about a loader. */
export function openLoaders(
  rootfs: Rootfs,
  locate: Locator,
  objects: Objects,
  correct: (facts: LoaderFacts) => LoaderFacts,
): Loaders {
  const loaders = new Map<string, LoaderFacts | undefined>();

  const read = (interpreter: string): LoaderFacts | undefined => {
    const location = locate(interpreter);
    if (location.kind !== "node") return undefined;
    const { node, path: foundAs } = location;
    const facts = readLoaderFacts(rootfs, { node, elf: objects.read(node), path: interpreter, foundAs });
    if (facts !== undefined) return correct(facts);
    throw new FlixwrapError("loader-unknown", {
      what: "a loader that is neither glibc's nor musl's",
      where: node.path,
    });
  };
  const named = (interpreter: string): LoaderFacts | undefined => {
    if (!loaders.has(interpreter)) loaders.set(interpreter, read(interpreter));
    return loaders.get(interpreter);
  };
  return {
    named,
    forLibrary(elf) {
      const family = familyOfLibrary(elf);
      const fits = (loader: LoaderFacts | undefined): loader is LoaderFacts =>
        loader !== undefined &&
        (family === undefined || loader.policy.family === family) &&
        sameMachine(loader.elf, elf);
      return [...loaders.values()].find(fits) ?? usualInterpreters(elf).map(named).find(fits);
    },
  };
}

const sameMachine = (a: Machine, b: Machine): boolean =>
  a.machine === b.machine && a.bits === b.bits && a.endian === b.endian;

/** Which C library an object was linked with, by the names it asks for; undefined when it asks for none. */
function familyOfLibrary({ needed }: ElfFile): "glibc" | "musl" | undefined {
  if (needed.some((name) => /^(?:libc\.so\.6|libm\.so\.6|libc\.so\.6\.1|ld-linux.*|ld64\.so\..*)$/.test(name)))
    return "glibc";
  return needed.some((name) => /^libc\.(?:musl-.*|so)$/.test(name)) ? "musl" : undefined;
}

/** Where each machine's ABI puts glibc's loader (glibc wiki, ABIList); musl's name is always `ld-musl-ARCH.so.1`. */
const glibcInterpreters: readonly (Pick<Machine, "machine" | "bits"> & { readonly paths: readonly string[] })[] = [
  { machine: 62, bits: 64, paths: ["/lib64/ld-linux-x86-64.so.2"] },
  { machine: 62, bits: 32, paths: ["/libx32/ld-linux-x32.so.2"] },
  { machine: 3, bits: 32, paths: ["/lib/ld-linux.so.2"] },
  { machine: 183, bits: 64, paths: ["/lib/ld-linux-aarch64.so.1"] },
  { machine: 40, bits: 32, paths: ["/lib/ld-linux-armhf.so.3", "/lib/ld-linux.so.3"] },
  { machine: 243, bits: 64, paths: ["/lib/ld-linux-riscv64-lp64d.so.1", "/lib/ld-linux-riscv64-lp64.so.1"] },
  { machine: 21, bits: 64, paths: ["/lib64/ld64.so.2", "/lib64/ld64.so.1"] },
  { machine: 22, bits: 64, paths: ["/lib/ld64.so.1"] },
  { machine: 258, bits: 64, paths: ["/lib64/ld-linux-loongarch-lp64d.so.1"] },
  { machine: 8, bits: 64, paths: ["/lib64/ld.so.1", "/lib64/ld-linux-mipsn8.so.1"] },
];

function usualInterpreters(elf: Machine): readonly string[] {
  const row = glibcInterpreters.find(({ machine, bits }) => machine === elf.machine && bits === elf.bits);
  const architecture = architectureOfElf(elf);
  return [...(row?.paths ?? []), ...(architecture === undefined ? [] : [`/lib/ld-musl-${architecture.musl}.so.1`])];
}
