import type { RootPath } from "../../core/paths.ts";
import type { SearchRule } from "../../loader/index.ts";
import type { Hint } from "./hints.ts";

/** Why Flix takes what it takes: the tree of needs as a graph of files. Plain data; `--json` prints it as it is. */
export interface Explanation {
  /** The image, by its digest where it has one. */
  readonly image: string;
  /** What was asked for, in that order, with the files that each stands for. */
  readonly asked: readonly { readonly path: RootPath; readonly files: readonly RootPath[] }[];
  /** What was asked for first, then what is needed in load order; each real file once. */
  readonly files: readonly ExplainedFile[];
  /** Sums over `files`, the largest first. */
  readonly packages: readonly { readonly name: string; readonly files: number; readonly size: number }[];
  /** Bytes of all files. */
  readonly size: number;
  /** Why `flix` would refuse it, if it would; one line, then one per finding. */
  readonly refusal?: readonly string[];
  readonly warnings: readonly string[];
  readonly hints: readonly Hint[];
}

/** A file that Flix ships, and what it is good for. */
export interface ExplainedFile {
  /** The real file in the image. */
  readonly path: RootPath;
  readonly role: "program" | "loader" | "library" | "script" | "data";
  /** Bytes. */
  readonly size: number;
  /** Bytes that would not be shipped if nobody needed this file: its own and those of what only it needs. */
  readonly brings: number;
  /** The installed package that owns it. */
  readonly package?: { readonly type: "deb" | "apk"; readonly name: string; readonly version: string };
  /** Other paths under which loaders find it. */
  readonly alias: readonly RootPath[];
  readonly needs: readonly Need[];
}

/** One thing that a file asks for. */
export interface Need {
  /** As written in the file that needs it: `libc.so.6`. */
  readonly name: string;
  /** The file that was found; absent when there is none. */
  readonly path?: RootPath;
  /** What found it; absent with `path`. `shebang` is the first line of a script. */
  readonly rule?: SearchRule | { readonly kind: "shebang" };
  /** Not needed at start but loaded by dlopen(3), and what for. */
  readonly late?: string;
}

/** `nginx 1.22.1-9`, or nothing for a file that no package owns. */
export const wordPackage = (file: ExplainedFile): string | undefined =>
  file.package && `${file.package.name} ${file.package.version}`;

/** `1.2 MB`, in powers of ten as disks are sold and `ls --si` counts. */
export function wordSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}
