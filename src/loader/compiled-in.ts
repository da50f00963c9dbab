import type { ByteSource } from "../core/bytes.ts";
import { defined } from "../core/defined.ts";

/** What a loader was built with. Nothing of it is in a header: these are plain strings in its read-only data. */
export type CompiledIn =
  | {
      readonly family: "glibc";
      /** `system_dirs` of elf/dl-load.c, each with its trailing slash: `/lib64/`, `/usr/lib64/`. */
      readonly systemFolders: readonly string[];
      /** DL_DST_LIB, the value of `$LIB`. */
      readonly lib?: string;
      /** LD_SO_CACHE; absent when the string was edited away. */
      readonly cachePath?: string;
      /** Sub-folders named after platforms (`haswell/`, `tls/`) are searched: glibc before 2.37. */
      readonly legacyHwcaps: boolean;
    }
  | {
      readonly family: "musl";
      /** The default path of load_library, split. */
      readonly systemFolders: readonly string[];
      /** LDSO_ARCH. */
      readonly arch: string;
    };

/** Loaders are 0.2 to 3 MB; nothing larger is searched for strings. */
const largestLoader = 16 * 1024 * 1024;

/** Reads the strings compiled into a loader; undefined when it is neither glibc's nor musl's. */
export function readCompiledIn(source: ByteSource): CompiledIn | undefined {
  const bytes = source.read(0, Math.min(source.size, largestLoader));
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  return readMusl(text) ?? readGlibc(text);
}

/**
 * The strings that match, and where. The text is anybody's: an expression that repeats what has repetitions in it would
 * take hours for a loader that is full of `/lib/lib/lib`.
 */
const stringsOf = (text: string, pattern: RegExp): (readonly [string, number])[] =>
  Array.from(text.matchAll(pattern), (match) => [match[0], match.index] as const);

const isLibraryFolder = (path: string): boolean =>
  !path.includes("//") && path.split("/").some((part) => part.startsWith("lib"));

function readMusl(text: string): CompiledIn | undefined {
  // load_library: snprintf(…, "%.*s/etc/ld-musl-" LDSO_ARCH ".path", …)
  const arch = /\/etc\/ld-musl-([\w-]+)\.path\0/.exec(text)?.[1];
  if (arch === undefined) return undefined;
  // Upstream's is "/lib:/usr/local/lib:/usr/lib"; a distribution may have another.
  const lists = stringsOf(text, /(?<=\0)\/[\w./+:-]{1,4094}(?=\0)/g).map(([list]) => list.split(":"));
  const isFolder = (path: string): boolean => path.startsWith("/") && path.includes("lib");
  return { family: "musl", arch, systemFolders: lists.find((list) => list.length > 1 && list.every(isFolder)) ?? [] };
}

function readGlibc(text: string): CompiledIn | undefined {
  // dl-cache.c looks for this magic; no other program but ldconfig has it.
  if (!text.includes("glibc-ld.so.cache1.1")) return undefined;
  // char system_dirs[] = "/lib64/\0/usr/lib64/": the first run of strings that are folders with "lib" in them.
  // What stands before it need not end with a NUL: on ARM it is a number.
  const folders = stringsOf(text, /(?<=[^ -~])\/[\w.+/-]{0,4094}\/(?=\0)/g).filter(([path]) => isLibraryFolder(path));
  const run = folders.findIndex(([path, at], n) => folders[n + 1]?.[1] !== at + path.length + 1);
  const systemFolders = folders.slice(0, run + 1).map(([path]) => path);
  const lib = systemFolders
    .map((folder) => folder.replace(/^\/(?:usr\/)?/, "").slice(0, -1))
    .find((name) => text.includes(`\0${name}\0`));
  const cachePath = /\0(\/[\w./+-]*\/ld\.so\.cache)\0/.exec(text)?.[1];
  return {
    family: "glibc",
    systemFolders,
    ...defined({ lib, cachePath }),
    // 2.33 and later say which they are ("ld.so (GNU libc) stable release version 2.36."); 2.37 ended the mechanism.
    legacyHwcaps: Number(/ release version 2\.(\d+)/.exec(text)?.[1] ?? 0) < 37,
  };
}
