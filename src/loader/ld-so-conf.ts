import { decodeName } from "../core/names.ts";
import { type RootPath, join, parentOf, rootPath } from "../core/paths.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { parseGlob } from "./glob.ts";

const largestConf = 1024 * 1024;
const mostFiles = 1000;

/** The folders that /etc/ld.so.conf of the root names, in ldconfig's order, each once; links are not resolved. */
export function readConfFolders(rootfs: Rootfs, conf: RootPath = rootPath("/etc/ld.so.conf")): readonly RootPath[] {
  const folders = new Set<RootPath>();
  const visited = new Set<string>();
  const readConf = (path: RootPath): void => {
    const node = rootfs.resolve(path);
    if (node?.type !== "file" || visited.has(node.path) || visited.size >= mostFiles) return;
    visited.add(node.path);
    const text = decodeName(rootfs.open(node).read(0, largestConf));
    for (const line of parseConf(text)) {
      if (line.kind === "folder") folders.add(rootPath(line.path));
      else {
        for (const pattern of line.patterns) {
          // ldconfig.c parse_conf_include: a relative pattern starts beside the including file.
          const absolute = pattern.startsWith("/") ? rootPath(pattern) : join(parentOf(path), pattern);
          for (const found of expandGlob(rootfs, absolute)) readConf(found);
        }
      }
    }
  };
  readConf(conf);
  return [...folders];
}

/** A line of ld.so.conf(5): a folder, or patterns of further files. */
export type ConfLine =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "include"; readonly patterns: readonly string[] };

/** The lines of an ld.so.conf that mean something (elf/ldconfig.c parse_conf). */
export function parseConf(text: string): readonly ConfLine[] {
  return text.split("\n").flatMap((line): ConfLine[] => {
    const words = line.replace(/#.*/, "").trim();
    if (words === "" || /^hwcap\s/.test(words)) return [];
    const include = /^include\s+(.*)$/.exec(words)?.[1];
    if (include !== undefined) return [{ kind: "include", patterns: include.split(/\s+/) }];
    // "/usr/lib=libc5": the type is history; relative folders are refused.
    const path = words.replace(/=[^=/]*$/, "").trimEnd();
    return path.startsWith("/") ? [{ kind: "folder", path }] : [];
  });
}

/** glob(3) inside the root: sorted by bytes, `*` and `?` do not match a leading dot. */
function expandGlob(rootfs: Rootfs, pattern: RootPath): readonly RootPath[] {
  let paths: readonly RootPath[] = [rootPath("/")];
  for (const part of pattern.split("/").slice(1)) {
    const matches = parseGlob(part);
    paths = paths.flatMap((folder) => {
      if (typeof matches === "string") {
        const path = join(folder, matches);
        return rootfs.lookup(path) === undefined ? [] : [path];
      }
      const real = rootfs.resolve(folder);
      return real?.type === "directory"
        ? rootfs
            .list(real.path)
            .filter(matches)
            .map((name) => join(folder, name))
        : [];
    });
    // A link to "/" makes every further star multiply.
    paths = paths.slice(0, mostFiles);
  }
  return paths;
}
