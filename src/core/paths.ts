/**
 * Three kinds of path that must not be mixed up. All are absolute, with `/` between parts, without `.`,
 * `..`, empty parts or a trailing slash (except the root itself, `/`).
 */

declare const brand: unique symbol;

/** A path inside an image's root file system. */
export type RootPath = string & { readonly [brand]: "root" };
/** A path inside the extension, as the host will see it after the merge: `/usr/bin/b3sum`. */
export type ExtPath = string & { readonly [brand]: "extension" };

/** Any spelling (relative, with `.` and `..`, with double slashes) as a path below `/`; `..` stops at `/`. */
export function normalise(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Any spelling as a path of the image. */
export const rootPath = (path: string): RootPath => normalise(path) as RootPath;
/** Any spelling as a path of the extension. */
export const extPath = (path: string): ExtPath => normalise(path) as ExtPath;

/** The folder that holds `path`; the root holds itself. */
export function parentOf<P extends RootPath | ExtPath>(path: P): P {
  return (path.slice(0, path.lastIndexOf("/")) || "/") as P;
}

/** The last part of a path; empty for the root. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** `join("/usr", "lib/x")` and `join("/", "x")`; the result is normalised. */
export function join<P extends RootPath | ExtPath>(folder: P, ...names: string[]): P {
  return normalise([folder, ...names].join("/")) as P;
}

/** Whether `path` is `folder` or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || folder === "/" || path.startsWith(`${folder}/`);
}
