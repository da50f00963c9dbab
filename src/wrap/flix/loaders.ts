import type { ByteWrite } from "../../core/bytes.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { type ElfFile, findString, readSystemDirectories } from "../../elf/index.ts";

/**
 * What the private copy of a loader must no longer do, as edits of the same length. No other byte of it
 * changes: loaders address their own data PC-relative and do not survive more (elf.md, fact 8).
 */
export interface LoaderSeal {
  readonly writes: readonly ByteWrite[];
  readonly edits: readonly string[];
}

/** Cuts a loader's copy off from the host. `kind` is the loader's family. */
export function sealLoader(elf: ElfFile, kind: "glibc" | "musl"): LoaderSeal {
  return kind === "glibc" ? sealGlibc(elf) : sealMusl(elf);
}

/**
 * glibc: NODEFLIB does not stop the loader from reading the host's `/etc/ld.so.cache`, and it holds only for the
 * object that carries it. So the copy gets file names that exist on no host (`/dev/null/x` fails with ENOTDIR)
 * and system folders that never hold a library (`/sys` is sysfs); what is left is DT_RPATH alone. The host's
 * `/etc/ld.so.preload` would put host libraries into our program and goes the same way.
 */
function sealGlibc(elf: ElfFile): LoaderSeal {
  const files = ["/etc/ld.so.cache", "/etc/ld.so.preload"].flatMap((path) =>
    findString(elf, path).map((offset) => ({ offset, from: path, to: nowhere(path.length) })),
  );
  const folders = readSystemDirectories(elf).map(({ path, offset }) => ({
    offset,
    from: path,
    to: padded("/sys", path.length),
  }));
  if (!files.some(({ from }) => from.endsWith("cache")) || folders.length === 0) throw unknownLoader(elf, "glibc");
  return toSeal([...files, ...folders]);
}

/**
 * musl: `LD_LIBRARY_PATH` comes before every run path (ldso/dynlink.c, load_library), so a foreign one breaks the
 * program. The copy asks for `LD_LIBRARY=PATH` instead: getenv(3) never finds a name with `=` in it. Its folders
 * come from the path file beside it, which also replaces its default list.
 */
function sealMusl(elf: ElfFile): LoaderSeal {
  const name = "LD_LIBRARY_PATH";
  const places = findString(elf, name).map((offset) => ({ offset, from: name, to: "LD_LIBRARY=PATH" }));
  if (places.length === 0) throw unknownLoader(elf, "musl");
  return toSeal(places);
}

const nowhere = (length: number): string => "/dev/null/ld.so.none".slice(0, length);
const padded = (path: string, length: number): string => path.padEnd(length, "/");

function toSeal(edits: readonly { offset: number; from: string; to: string }[]): LoaderSeal {
  const sorted = edits.toSorted((a, b) => a.offset - b.offset);
  return {
    writes: sorted.map(({ offset, to }) => ({ offset, bytes: Buffer.from(to, "latin1") })),
    edits: sorted.map(({ from, to }) => `${from} -> ${to}`),
  };
}

function unknownLoader(elf: ElfFile, kind: string): FlixwrapError {
  return new FlixwrapError("wrap-unknown-loader", {
    what: "cannot cut this loader off from the host: its search paths are not where they are expected",
    where: elf.name,
    wanted: kind === "glibc" ? "/etc/ld.so.cache and the system folders as strings" : "LD_LIBRARY_PATH as a string",
    hint: "use flatwrap for this image",
  });
}
