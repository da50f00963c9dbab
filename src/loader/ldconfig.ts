import { type RootPath, join } from "../core/paths.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";
import type { LoaderFacts } from "./facts.ts";
import type { CacheEntry } from "./library-cache.ts";
import type { Opening } from "./objects.ts";

/**
 * What ldconfig would write into the cache for `facts.confFolders` (elf/ldconfig.c search_dir), first folder first.
 * Entries of other machines are left out, and so are hwcaps sub-folders.
 */
export function indexFolders(
  rootfs: Rootfs,
  facts: LoaderFacts,
  openObject: (node: RootNode) => Opening,
): readonly CacheEntry[] {
  let entries = indexes.get(facts);
  if (entries === undefined) {
    entries = indexAll(rootfs, facts, openObject);
    indexes.set(facts, entries);
  }
  return entries;
}

const indexes = new WeakMap<LoaderFacts, readonly CacheEntry[]>();

function indexAll(rootfs: Rootfs, facts: LoaderFacts, openObject: (node: RootNode) => Opening): readonly CacheEntry[] {
  const seen = new Set<string>();
  return facts.confFolders.flatMap((folder) => {
    const real = rootfs.resolve(folder);
    if (real?.type !== "directory" || seen.has(real.identity)) return [];
    seen.add(real.identity);
    return [...indexFolder(rootfs, folder, real.path, openObject)].map(([name, file]) => ({
      name,
      path: join(folder, name),
      file: join(folder, file),
      flags: 1,
      legacyHwcap: 0n,
    }));
  });
}

/** soname -> file name, for one folder. */
function indexFolder(
  rootfs: Rootfs,
  folder: RootPath,
  real: RootPath,
  openObject: (node: RootNode) => Opening,
): ReadonlyMap<string, string> {
  const chosen = new Map<string, { readonly file: string; readonly isLink: boolean }>();
  for (const file of rootfs.list(real)) {
    if (!isLibraryName(file)) continue;
    const entry = rootfs.lookup(join(real, file));
    const node = entry?.type === "symlink" ? rootfs.resolve(join(folder, file)) : entry;
    if (entry === undefined || node?.type !== "file") continue;
    const opening = openObject(node);
    if (opening === "foreign" || "defect" in opening) continue;
    const soname = opening.soname ?? file;
    // A link keeps its own name only when that is the soname, or the soname up to ".so" (the link for ld(1)).
    const isLink = entry.type === "symlink" && (file === soname || (file.endsWith(".so") && soname.startsWith(file)));
    const name = isLink ? file : soname;
    const other = chosen.get(name);
    const better =
      other === undefined ||
      (other.isLink && !isLink) ||
      (other.isLink === isLink && compareLibraryNames(other.file, file) < 0);
    if (better) chosen.set(name, { file, isLink });
  }
  return new Map([...chosen].map(([name, { file }]) => [name, file]));
}

/** _dl_is_dso, and the left-overs of package managers and of gdb that ldconfig passes over. */
export function isLibraryName(name: string): boolean {
  if (name.endsWith("-gdb.py") || /\.#prelink#/.test(name) || name.includes(";")) return false;
  if (/^(?:lib|ld-).*\.so/.test(name)) return !/\.(?:dpkg-new|dpkg-tmp|tmp)$/.test(name);
  return /^ld(?:64)?\.so\./.test(name);
}

/** _dl_cache_libcmp: runs of digits compare as numbers, a digit sorts after anything else. */
export function compareLibraryNames(a: string, b: string): number {
  const left = a.match(/\d+|\D/g) ?? [];
  const right = b.match(/\d+|\D/g) ?? [];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x = "", y = ""] = [left[i], right[i]];
    const [xIsNumber, yIsNumber] = [/^\d/.test(x), /^\d/.test(y)];
    if (xIsNumber !== yIsNumber) return xIsNumber ? 1 : -1;
    const order = xIsNumber ? Number(x) - Number(y) : (x.codePointAt(0) ?? 0) - (y.codePointAt(0) ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}
