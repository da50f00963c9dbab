import { minimatch } from "minimatch";
import { decodeName } from "../core/names.ts";
import { type RootPath, join, parentOf, rootPath } from "../core/paths.ts";
import type { Rootfs } from "../oci/rootfs.ts";

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

/** glob(3) inside the root: sorted by bytes, no `**`, no braces, `*` does not match a leading dot. */
function expandGlob(rootfs: Rootfs, pattern: RootPath): readonly RootPath[] {
  return pattern
    .split("/")
    .slice(1)
    .reduce<readonly RootPath[]>(
      (folders, part) =>
        folders.flatMap((folder) => {
          if (!/[*?[\\]/.test(part)) return rootfs.lookup(join(folder, part)) === undefined ? [] : [join(folder, part)];
          const real = rootfs.resolve(folder);
          if (real?.type !== "directory") return [];
          return rootfs
            .list(real.path)
            .filter((name) => matches(name, part))
            .map((name) => join(folder, name));
        }),
      [rootPath("/")],
    );
}

const matches = (name: string, pattern: string): boolean =>
  minimatch(name, pattern, { nobrace: true, noext: true, noglobstar: true, nocomment: true, nonegate: true });
