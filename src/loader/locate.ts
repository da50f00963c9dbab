import { type RootPath, baseName, join, parentOf, rootPath } from "../core/paths.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/** What open(2) would make of a path inside the root. */
export type Location =
  | { readonly kind: "absent" }
  /** ELOOP. */
  | { readonly kind: "loop" }
  | {
      readonly kind: "node";
      readonly node: RootNode;
      /** The path as asked for, `..` resolved as the kernel does (after links), links otherwise kept. */
      readonly path: RootPath;
    };

/** Looks paths up as a loader spells them: absolute, with `.`, `..` and double slashes. Remembers answers. */
export type Locator = (path: string) => Location;

/** The kernel's PATH_MAX: a longer path is ENAMETOOLONG, which both loaders pass over like a missing file. */
const pathMax = 4096;
/** All 1,087 programs of a Debian machine together look at 1,500 paths; crafted run paths could name billions. */
const mostPaths = 500_000;

const tooManyPaths = (rootfs: Rootfs, path: string): FlixwrapError =>
  new FlixwrapError("loader-search-too-long", {
    what: `the search for libraries does not end: ${mostPaths} paths were tried`,
    where: `${rootfs.description}: ${path}`,
    hint: "look at the run paths of the program and its libraries",
  });

/** A {@link Locator} for `rootfs`; relative paths start at `workingFolder`, and are absent without one. */
export function openLocator(rootfs: Rootfs, workingFolder?: RootPath): Locator {
  const answers = new Map<string, Location>();
  const folders = new Map<RootPath, RootPath | Failure>();

  /** The real path of a folder: thousands of look-ups share a few folders. */
  const realFolder = (folder: RootPath): RootPath | Failure => {
    let answer = folders.get(folder);
    if (answer === undefined) {
      const node = resolveOrLoop(rootfs, folder);
      answer = node === "loop" ? "loop" : node?.type === "directory" ? node.path : "absent";
      folders.set(folder, answer);
    }
    return answer;
  };

  const locate = (path: string): Location => {
    const absolute = path.startsWith("/") ? path : workingFolder === undefined ? undefined : `${workingFolder}/${path}`;
    if (absolute === undefined || absolute.length >= pathMax) return { kind: "absent" };
    const kernelPath = withoutParents(absolute, realFolder);
    if (isFailure(kernelPath)) return { kind: kernelPath };
    const folder = realFolder(parentOf(kernelPath));
    if (isFailure(folder)) return { kind: folder };
    const node = resolveOrLoop(rootfs, join(folder, baseName(kernelPath)));
    if (node === "loop") return { kind: "loop" };
    return node === undefined ? { kind: "absent" } : { kind: "node", node, path: kernelPath };
  };

  return (path) => {
    let answer = answers.get(path);
    if (answer === undefined) {
      if (answers.size >= mostPaths) throw tooManyPaths(rootfs, path);
      answer = locate(path);
      answers.set(path, answer);
    }
    return answer;
  };
}

type Failure = "absent" | "loop";
const isFailure = (answer: RootPath | Failure): answer is Failure => answer === "absent" || answer === "loop";

/** `/a/link/../b` is not `/a/b` when `link` leads elsewhere: each `..` is the parent of a real folder. */
function withoutParents(path: string, realFolder: (folder: RootPath) => RootPath | Failure): RootPath | Failure {
  const parts = path.split("/");
  if (!parts.includes("..")) return rootPath(path);
  let folder = rootPath("/");
  for (const part of parts) {
    if (part !== "..") {
      folder = join(folder, part);
      continue;
    }
    const real = realFolder(folder);
    if (isFailure(real)) return real;
    folder = parentOf(real);
  }
  return folder;
}

function resolveOrLoop(rootfs: Rootfs, path: RootPath): RootNode | "loop" | undefined {
  try {
    return rootfs.resolve(path);
  } catch (error) {
    if (error instanceof FlixwrapError && error.code === "oci-link-loop") return "loop";
    throw error;
  }
}
