import { FlixwrapError } from "../../core/errors.ts";
import { isWithin, join, type RootPath, rootPath } from "../../core/paths.ts";
import { isElf, matchStrings, readElf } from "../../elf/index.ts";
import { afterUsrMerge } from "../../extension/check/hosts.ts";
import type { Closure } from "../../loader/index.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { type Entry, parseEntry } from "../entry.ts";
import { matchNodes } from "./patterns.ts";
import { readShebang } from "./scripts.ts";
import type { SelectedFile, Selection } from "./selection.ts";
import type { Sysroot } from "./sysroot.ts";

/** Something of the root that a pattern means: a program, a script, or a link to one. */
export interface FoundBinary {
  readonly entry: Entry;
  readonly node: RootNode;
  readonly why: string;
  /** What the user should know of its place. */
  readonly warning?: string;
}

/**
 * The programs that others start by a compiled-in path, as `--with-binaries` names them: each stands at its own path,
 * which on the hosts of today begins with `/usr`. What lies outside of /usr and /opt can only stand in the private folder.
 * @throws FlixwrapError `wrap-binaries-missing` when a pattern means no program.
 */
export function findBinaries(rootfs: Rootfs, patterns: readonly string[], sysroot: Sysroot): readonly FoundBinary[] {
  return patterns.flatMap((pattern) => {
    const nodes = [...matchNodes(rootfs, pattern)].filter((node) => {
      const goal = rootfs.resolve(node.path);
      return goal !== undefined && isStarted(rootfs, goal);
    });
    if (nodes.length > 0) {
      return nodes.map((node) => ({ ...placeAlike(node.path, sysroot), node, why: `--with-binaries ${pattern}` }));
    }
    throw new FlixwrapError("wrap-binaries-missing", {
      what: "no program in the image matches",
      got: pattern,
      wanted: "an absolute path or pattern such as '/usr/lib/git-core/*'",
    });
  });
}

/** Executable, and a script or an ELF file that is no library. */
function isStarted(rootfs: Rootfs, node: RootNode): boolean {
  if (node.type !== "file" || (node.mode & 0o111) === 0) return false;
  const content = rootfs.open(node);
  return isElf(content) ? readElf(content, node.path).soname === undefined : readShebang(rootfs, node) !== undefined;
}

function placeAlike(source: RootPath, sysroot: Sysroot): Pick<FoundBinary, "entry" | "warning"> {
  const target = afterUsrMerge(source);
  if (/^\/(usr|opt)\/./.test(target)) {
    return { entry: parseEntry([source, target].map((path) => path.replaceAll(":", "\\:")).join(":")) };
  }
  const place = sysroot.mirror(source);
  const warning = `${source} stands at ${place}, since an extension has /usr and /opt alone: who starts it by its own path needs flatwrap`;
  return { entry: { source, target: place }, warning };
}

/** What is larger than that has more in it than a program's strings (node, bun). */
const largestSearched = 16 << 20;

/** Private programs of a package: /usr/lib/git-core, /usr/libexec/sudo/sesh. Those of /usr/bin may be any host's own. */
const privateProgram = /(?:(?:\/usr)?\/lib(?:exec|32|64)?|\/opt)\/[\w.+@/-]{2,200}/;

/** In a script's lines, comments aside: a path of its own, not the rest of `$prefix/lib/x`. */
const pathInScript = /(?<![\w}$/.-])(?:\/[\w.+@-]{1,128}){2,12}/g;
const usualFolder = /^(\/usr(\/local)?)?\/s?bin\//;

/** The programs that a file names: a program by its strings, a script by single files outside of the usual folders. */
function namedIn(rootfs: Rootfs, file: SelectedFile): readonly RootPath[] {
  if (file.node.size > largestSearched) return [];
  if (file.role === "program") return matchStrings(file.elf, privateProgram).map((text) => rootPath(text));
  if (file.role !== "script") return [];
  const [, ...lines] = Buffer.from(rootfs.open(file.node).read(0, file.node.size)).toString("latin1").split("\n");
  const text = lines.filter((line) => !/^\s*#/.test(line)).join("\n");
  const paths = [...new Set(Array.from(text.matchAll(pathInScript), ([path]) => rootPath(path)))];
  return paths.filter((path) => !usualFolder.test(path) && rootfs.resolve(path)?.type === "file");
}

/**
 * One line per program, or folder of programs, that a selected program or script names by a path at which the extension has
 * nothing: compiled in as it is, it serves at its own place only.
 */
export function warnOfStarted(rootfs: Rootfs, closure: Closure, { files, links }: Selection): readonly string[] {
  const places = [...files, ...links].map(({ to }) => to as string);
  const sources = files.map(({ node }) => node.path);
  // A loader is named by PT_INTERP, and comes along.
  const loaders = closure.objects.filter(({ role }) => role === "interpreter");
  const told = new Set(loaders.map(({ node }) => node.path));
  return files.flatMap((file) => {
    return namedIn(rootfs, file).flatMap((path) => {
      const real = rootfs.resolve(path);
      if (real === undefined || told.has(real.path)) return [];
      const place = afterUsrMerge(real.path);
      if (places.some((to) => isWithin(to, place))) return [];
      const count = countStarted(rootfs, real);
      if (count === 0) return [];
      told.add(real.path);
      const what =
        real.type === "directory" ? `${real.path}, with ${count} program${count === 1 ? "" : "s"},` : real.path;
      const advice = place === real.path ? place : `${real.path}:${place}`;
      const state = sources.some((source) => isWithin(source, real.path))
        ? "is taken to another place, where it is not looked for"
        : "is not taken";
      const way = /^\/(usr|opt)\/./.test(place) ? `add the PATH ${advice}, or use flatwrap` : "use flatwrap";
      return [`${what} ${state}: ${file.node.path} names it; ${way}`];
    });
  });
}

function countStarted(rootfs: Rootfs, node: RootNode): number {
  if (node.type !== "directory") return isStarted(rootfs, node) ? 1 : 0;
  const children = rootfs.list(node.path).map((name) => rootfs.resolve(join(node.path, name)));
  return children.filter((child) => child !== undefined && isStarted(rootfs, child)).length;
}
