import type { ByteSource } from "../core/bytes.ts";
import type { ExtPath } from "../core/paths.ts";

/** Every node of the extension, ready to be checked and packed. Parents are always present. */
export interface ExtensionTree {
  readonly name: string;
  /** Sorted by path bytes, parents first; starts with `/`. */
  readonly nodes: ReadonlyMap<ExtPath, TreeNode>;
}

export type TreeNode =
  | (Attributes & { readonly type: "directory" })
  | (Attributes & { readonly type: "file"; readonly content: ByteSource })
  | (Attributes & { readonly type: "symlink"; readonly target: string });

interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}
