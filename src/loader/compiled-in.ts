import type { ByteSource } from "../core/bytes.ts";

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

function readMusl(text: string): CompiledIn | undefined {
  // load_library: snprintf(…, "%.*s/etc/ld-musl-" LDSO_ARCH ".path", …)
  const arch = /\/etc\/ld-musl-([\w-]+)\.path\0/.exec(text)?.[1];
  if (arch === undefined) return undefined;
  // Upstream's is "/lib:/usr/local/lib:/usr/lib"; a distribution may have another.
  const path = /\0((?:\/[\w./+-]*lib[\w./+-]*)(?::\/[\w./+-]*lib[\w./+-]*)+)\0/.exec(text)?.[1];
  return { family: "musl", arch, systemFolders: path?.split(":") ?? [] };
}

function readGlibc(text: string): CompiledIn | undefined {
  // dl-cache.c looks for this magic; no other program but ldconfig has it.
  if (!text.includes("glibc-ld.so.cache1.1")) return undefined;
  // char system_dirs[] = "/lib64/\0/usr/lib64/": the first run of strings that are folders with "lib" in them.
  // What stands before it need not end with a NUL: on ARM it is a number.
  const run = /[^ -~]((?:\/(?:[\w.+-]+\/)*lib[\w.+-]*\/(?:[\w.+-]+\/)*\0)+)/.exec(text)?.[1];
  const systemFolders = run?.split("\0").slice(0, -1) ?? [];
  const lib = systemFolders
    .map((folder) => folder.replace(/^\/(?:usr\/)?/, "").slice(0, -1))
    .find((name) => text.includes(`\0${name}\0`));
  const cachePath = /\0(\/[\w./+-]*\/ld\.so\.cache)\0/.exec(text)?.[1];
  return {
    family: "glibc",
    systemFolders,
    ...(lib !== undefined && { lib }),
    ...(cachePath !== undefined && { cachePath }),
    // 2.33 and later say which they are ("ld.so (GNU libc) stable release version 2.36."); 2.37 ended the mechanism.
    legacyHwcaps: Number(/ release version 2\.(\d+)/.exec(text)?.[1] ?? 0) < 37,
  };
}
