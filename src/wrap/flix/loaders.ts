import type { ByteWrite } from "../../core/bytes.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { type ElfFile, findString } from "../../elf/index.ts";
import { type CompiledIn, readCompiledIn } from "../../loader/index.ts";

/**
 * What the private copy of a loader must no longer do, as edits of the same length. No other byte of it
 * changes: loaders address their own data PC-relative and do not survive more.
 */
export interface LoaderSeal {
  readonly writes: readonly ByteWrite[];
  readonly edits: readonly string[];
}

/** Cuts a loader's copy off from the host. */
export function sealLoader(elf: ElfFile): LoaderSeal {
  const built = readCompiledIn(elf.source);
  const replacements = built === undefined ? [] : built.family === "glibc" ? sealGlibc(built) : sealMusl;
  const found = replacements.map((replacement) => ({ ...replacement, offsets: findString(elf, replacement.from) }));
  if (found.length === 0 || found.some(({ offsets, optional }) => offsets.length === 0 && optional !== true)) {
    throw new FlixwrapError("wrap-unknown-loader", {
      what: "cannot cut this loader off from the host: its search paths are not where they are expected",
      where: elf.name,
      hint: "use flatwrap for this image",
    });
  }
  return {
    writes: found
      .flatMap(({ to, offsets }) => offsets.map((offset) => ({ offset, bytes: Buffer.from(to, "latin1") })))
      .toSorted((a, b) => a.offset - b.offset),
    edits: found.filter(({ offsets }) => offsets.length > 0).map(({ what }) => what),
  };
}

/** A string and another of the same length that takes its place. */
interface Replacement {
  readonly from: string;
  readonly to: string;
  readonly what: string;
  readonly optional?: true;
}

/**
 * NODEFLIB does not stop glibc's loader from reading the host's `ld.so.cache`, and it holds only for the object
 * that carries it. So the copy gets the names of files that exist on no host (`/dev/null/x` is ENOTDIR) and
 * system folders that never hold a library (`/sys` is sysfs); what is left is DT_RPATH alone. The host's
 * `ld.so.preload` would put host libraries into our program and goes the same way.
 */
function sealGlibc({ cachePath = "/etc/ld.so.cache", systemFolders }: CompiledIn & { family: "glibc" }): Replacement[] {
  const preload = "/etc/ld.so.preload";
  return [
    { from: cachePath, to: nowhere(cachePath), what: `reads no ${cachePath}` },
    { from: preload, to: nowhere(preload), what: `reads no ${preload}`, optional: true },
    {
      // `system_dirs` of elf/dl-load.c: strings one behind the other, their lengths compiled in.
      from: systemFolders.join("\0"),
      to: systemFolders.map((folder) => "/sys".padEnd(folder.length, "/")).join("\0"),
      what: `searches no ${systemFolders.join(" ")}`,
    },
  ];
}

/**
 * musl asks `LD_LIBRARY_PATH` before every run path (ldso/dynlink.c, load_library), so a foreign one breaks the
 * program. The copy asks for `LD_LIBRARY=PATH` instead: getenv(3) never finds a name with `=` in it. Its folders
 * come from the path file beside it, which also replaces its default list.
 */
const sealMusl: readonly Replacement[] = [
  { from: "LD_LIBRARY_PATH", to: "LD_LIBRARY=PATH", what: "ignores LD_LIBRARY_PATH" },
];

const nowhere = (path: string): string => "/dev/null/".padEnd(path.length, "-").slice(0, path.length);
