import { folder } from "./folder.ts";
import type { Packer } from "./packer.ts";
import { squashfs } from "./squashfs.ts";

/** Every format, one row each; `--format` takes these names. */
export const packers = { squashfs, dir: folder } satisfies Record<string, Packer>;

export type Format = keyof typeof packers;

/** The format that the first bytes of a file show; undefined for anything we do not write. */
export function recogniseFormat(head: Uint8Array): Format | undefined {
  return (Object.keys(packers) as Format[]).find((format) => packers[format].recognise(head));
}
