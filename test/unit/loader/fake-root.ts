import { memorySource } from "../../../src/core/bytes.ts";
import type { RootPath } from "../../../src/core/paths.ts";
import type { ElfFile } from "../../../src/elf/file.ts";
import type { ResolveOptions } from "../../../src/loader/index.ts";
import { type MemoryEntry, memoryRootfs } from "../../../src/oci/memory-rootfs.ts";
import type { RootNode, Rootfs } from "../../../src/oci/rootfs.ts";

/** The facts of an object that a test cares for. */
export type FakeObject = Partial<
  Pick<
    ElfFile,
    | "interpreter"
    | "needed"
    | "soname"
    | "rpath"
    | "runpath"
    | "noDefaultLib"
    | "machine"
    | "bits"
    | "endian"
    | "flags1"
  >
>;

export interface FakeRoot {
  readonly rootfs: Rootfs;
  readonly options: ResolveOptions & { readonly readObject: (node: RootNode) => ElfFile | undefined };
}

const strings = (...texts: readonly string[]): string => `\0${texts.join("\0")}\0`;

/** The strings of a loader that our reader looks for. */
export const loaderStrings = {
  glibc: strings(
    "/lib64/",
    "/usr/lib64/",
    "",
    "lib64",
    "/etc/ld.so.cache",
    "glibc-ld.so.cache1.1",
    " release version 2.41.",
  ),
  musl: strings("/lib:/usr/local/lib:/usr/lib", "%.*s/etc/ld-musl-x86_64.path"),
};

/** A root of plain files and of objects that exist only as facts; no byte of them is an ELF file. */
export function fakeRoot(
  objects: Readonly<Record<string, FakeObject>>,
  files: Readonly<Record<string, MemoryEntry>> = {},
): FakeRoot {
  const contents = Object.fromEntries(Object.keys(objects).map((path) => [path, files[path] ?? path]));
  const rootfs = memoryRootfs({ ...contents, ...files });
  return {
    rootfs,
    options: {
      // There are no notes to read.
      dlopen: "none",
      readObject: (node) => {
        const object = objects[node.path];
        return object === undefined ? undefined : elfOf(node.path, rootfs.open(node), object);
      },
    },
  };
}

function elfOf(path: RootPath, source: ElfFile["source"], object: FakeObject): ElfFile {
  const facts = {
    bits: 64,
    endian: "little",
    machine: 62,
    needed: [],
    noDefaultLib: false,
    flags1: 0,
    ...object,
  } as const;
  return {
    ...facts,
    source,
    name: path,
    type: 3,
    // All of it is constants.
    segments: [
      { type: 1, flags: 4, offset: 0n, vaddr: 0n, paddr: 0n, filesz: BigInt(source.size), memsz: 0n, align: 1n },
    ],
    dynamic: [],
    header: undefined as never,
    isDynamic: true,
    auxiliary: [],
    filters: [],
    flags: 0,
  };
}

export const source = (text: string) => memorySource(Buffer.from(text, "latin1"));
