import { defined } from "../core/defined.ts";
import { decodeName } from "../core/names.ts";
import { type RootPath, rootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import type { CacheEntry } from "./library-cache.ts";
import { readLibraryCache } from "./library-cache.ts";
import type { CompiledIn } from "./compiled-in.ts";
import { readCompiledIn } from "./compiled-in.ts";
import { platformOf } from "./hwcaps.ts";
import { readConfFolders } from "./ld-so-conf.ts";
import { type LoaderPolicy, glibc, musl } from "./policy.ts";
import type { TokenValues } from "./run-path.ts";

/** What one loader of one root works with: its rules, and the files and folders it takes them to. */
export interface LoaderFacts {
  readonly policy: LoaderPolicy;
  /** The loader's real file. */
  readonly node: RootNode;
  readonly elf: ElfFile;
  /** PT_INTERP as written: musl finds its path file by it. */
  readonly path: string;
  /** The path behind it in the root; links at its end are kept. */
  readonly foundAs: RootPath;
  /** Compiled in; DF_1_NODEFLIB also bars cache entries below them. */
  readonly systemFolders: readonly string[];
  /** The folders of the last resort: the compiled-in ones, or those of musl's path file. */
  readonly defaults: { readonly rule: "default" | "path-file"; readonly folders: readonly string[] };
  /** Sub-folders of every folder that are looked at before it on every processor: glibc before 2.37. */
  readonly subfolders: readonly string[];
  /** Values of `$LIB` and `$PLATFORM`. */
  readonly tokens: TokenValues;
  /** Entries of the root's ld.so.cache; undefined when there is none (or a damaged one). */
  readonly cache?: readonly CacheEntry[];
  /** Folders that ldconfig would index, from ld.so.conf, system folders last. */
  readonly confFolders: readonly RootPath[];
}

/** Reads the facts of a loader from its own bytes and from its root; undefined for an unknown kind of loader. */
export function readLoaderFacts(rootfs: Rootfs, loader: Loader): LoaderFacts | undefined {
  const built = readCompiledIn(loader.elf.source);
  if (built === undefined) return undefined;
  return built.family === "glibc" ? glibcFacts(rootfs, loader, built) : muslFacts(rootfs, loader, built);
}

/** A loader, before anything was read from it. */
export type Loader = Pick<LoaderFacts, "node" | "elf" | "path" | "foundAs">;
type Built<Family> = CompiledIn & { readonly family: Family };

function glibcFacts(rootfs: Rootfs, loader: Loader, built: Built<"glibc">): LoaderFacts {
  const { systemFolders } = built;
  const cacheNode = built.cachePath === undefined ? undefined : rootfs.resolve(rootPath(built.cachePath));
  const cache = cacheNode?.type === "file" ? readLibraryCache(rootfs.open(cacheNode), loader.elf.endian) : undefined;
  const platform = platformOf(loader.elf);
  return {
    ...loader,
    policy: glibc,
    systemFolders,
    defaults: { rule: "default", folders: systemFolders.map(withoutSlash) },
    // dl-hwcaps.c _dl_important_hwcaps: all combinations of "tls" and AT_PLATFORM, the longest first.
    subfolders: !built.legacyHwcaps ? [] : platform === undefined ? ["tls"] : [`tls/${platform}`, "tls", platform],
    tokens: {
      ...defined({ LIB: built.lib, PLATFORM: platform }),
    },
    ...defined({ cache }),
    confFolders: [...readConfFolders(rootfs), ...systemFolders.map(rootPath)],
  };
}

function muslFacts(rootfs: Rootfs, loader: Loader, built: Built<"musl">): LoaderFacts {
  const file = rootfs.resolve(rootPath(muslPathFile(loader.path, built.arch)));
  // "else if (errno != ENOENT) sys_path = """: whatever is there replaces the default, even when it is empty.
  const folders =
    file === undefined
      ? built.systemFolders
      : file.type === "file"
        ? decode(rootfs.open(file).read(0, Math.min(file.size, 1024 * 1024))).split(/[:\n]+/)
        : [];
  return {
    ...loader,
    policy: musl,
    systemFolders: built.systemFolders,
    defaults: {
      rule: file === undefined ? "default" : "path-file",
      folders: folders.filter((folder) => folder !== ""),
    },
    subfolders: [],
    tokens: {},
    confFolders: [],
  };
}

/** The path file of a loader: beside the folder that holds the loader's folder. */
export function muslPathFile(interpreter: string, arch: string): string {
  const prefix = interpreter.startsWith("/") ? /^(.*?)(?:\/[^/]*){1,2}$/.exec(interpreter)?.[1] : "";
  return `${prefix ?? ""}/etc/ld-musl-${arch}.path`;
}

// A C string: what follows a NUL is not read.
const decode = (bytes: Uint8Array): string => decodeName(bytes).split("\0", 1)[0]!;
const withoutSlash = (folder: string): string => folder.replace(/(?<=.)\/+$/, "");
