import type { ByteWrite } from "../core/bytes.ts";
import type { ExtPath } from "../core/paths.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/**
 * What a converter wants in the extension: data that can be printed, compared and checked before a byte is
 * written. `src/extension/tree` carries it out.
 */
export interface Plan {
  /** The root that `copy` and `patch` read from. */
  readonly source: Rootfs;
  readonly actions: readonly Action[];
  /** Told to the user; they do not stop the build. */
  readonly warnings: readonly string[];
}

/** One thing that stands in the extension afterwards, and where its bytes come from. */
export type Action =
  /** A file of the root, bytes and attributes as they are. */
  | (Placement & { readonly kind: "copy"; readonly from: RootNode })
  /** A file of the root with some bytes replaced; `size` is the size afterwards. */
  | (Placement & {
      readonly kind: "patch";
      readonly from: RootNode;
      readonly writes: readonly ByteWrite[];
      readonly size: number;
      /** What the patch does, for people: `interpreter /usr/lib/…`. */
      readonly edits: readonly string[];
    })
  /** A file made here. */
  | (Placement & {
      readonly kind: "write";
      readonly content: Uint8Array;
      readonly mode: number;
      readonly xattrs?: ReadonlyMap<string, Uint8Array>;
    })
  | (Placement & { readonly kind: "symlink"; readonly target: string })
  /** A folder with attributes of its own; plain parents need no action. */
  | (Placement & { readonly kind: "directory"; readonly mode: number });

interface Placement {
  readonly to: ExtPath;
  /** Why it is there, one clause: `needed by /usr/bin/b3sum (default folder /lib)`. */
  readonly why: string;
}
