import type { SigningKey } from "./ddi/signature.ts";
import type { Context } from "../core/context.ts";
import type { ExtensionTree } from "../extension/tree.ts";

/** What packers can be told; each reads what concerns it. */
export interface PackOptions {
  /** All times in the image, in seconds since 1970 (`SOURCE_DATE_EPOCH`); 0 when not given. */
  readonly epoch?: number;
  /** squashfs: `zstd` (default), `xz`, `lz4`, `gzip`; erofs: `lz4hc` (default), `lz4`, `lzma`, `deflate`, `zstd`, `none`. */
  readonly compression?: string;
  /** The compressor's level, where it has levels. */
  readonly level?: number;
  /** Bytes of a data block, where the format has a choice. */
  readonly blockSize?: number;
  /** Bytes of the whole file system, for ext2 and ext4; as small as may be when not given. */
  readonly size?: number;
  /** The file system inside a DDI; squashfs when not given. */
  readonly filesystem?: "squashfs" | "erofs";
  /** A DDI's signature over its root hash; without it the DDI has hashes only. */
  readonly signing?: SigningKey;
  /** A DDI's salt and identities come from this text; from the tree when not given. */
  readonly seed?: string;
}

/** An option that only some formats have. */
export type PackOption = Exclude<keyof PackOptions, "epoch">;

/** One row of the table of formats. */
export interface Packer {
  readonly kind: "file" | "folder";
  /** What the result's name ends with after NAME; systemd wants `.raw` for every file system. */
  readonly suffix: string;
  /** Options that mean something to it, beside `epoch`. */
  readonly takes: readonly PackOption[];
  /** Whether the first bytes (up to 128 KiB) of a file are of this format. Folders have no such bytes. */
  readonly recognise: (head: Uint8Array) => boolean;
  /** Makes the whole result at `output`, a new path. */
  readonly pack: (tree: ExtensionTree, output: string, options: PackOptions, context: Context) => Promise<void>;
}

/** Whether `magic` stands at `offset` of `head`. */
export function hasMagic(head: Uint8Array, offset: number, magic: readonly number[] | string): boolean {
  const wanted = typeof magic === "string" ? Buffer.from(magic, "latin1") : magic;
  return (
    head.length >= offset + wanted.length &&
    wanted.every((byte: number, index: number) => head[offset + index] === byte)
  );
}
