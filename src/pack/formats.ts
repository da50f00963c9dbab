import { btrfs } from "./btrfs.ts";
import { ddi } from "./ddi/ddi.ts";
import { erofs } from "./erofs.ts";
import { ext2, ext4 } from "./ext.ts";
import { folder } from "./folder.ts";
import type { Packer } from "./packer.ts";
import { squashfs } from "./squashfs.ts";
import { tar } from "./tar.ts";

/** Every format, one row each; `--format` takes these names. */
export const packers = { squashfs, erofs, ext4, ext2, btrfs, ddi, tar, dir: folder } satisfies Record<string, Packer>;

/** What `--format` takes. */
export type Format = keyof typeof packers;

/** The format that the first bytes of a file show; undefined for anything we do not write. */
export function recogniseFormat(head: Uint8Array): Format | undefined {
  return (Object.keys(packers) as Format[]).find((format) => packers[format].recognise(head));
}
