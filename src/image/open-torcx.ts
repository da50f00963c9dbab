import { closeSync, openSync, readSync, statSync } from "node:fs";
import { basename } from "node:path";
import { FlixwrapError } from "../core/errors.ts";
import { type OpenedImage, openImage, type OpenOptions, emptyConfig } from "../oci/image.ts";
import { parseTorcxName } from "../wrap/torcx/profile.ts";
import { openExtension } from "./open.ts";

/** The image's own name, where its file has one: `docker` of `docker:20.10.torcx.tgz`. */
export interface OpenedTorcx extends OpenedImage {
  readonly torcxName?: string;
}

/** First bytes of a squashfs image (s_magic, little endian). */
const squashfsMagic = "hsqs";

/**
 * Opens a Torcx image: a tar file however compressed, a squashfs image, or a folder. What it is shows by its content;
 * a colon in its name is part of the name. `tar:` and `dir:` before the path are taken off.
 * @throws FlixwrapError `oci-…`, `pack-damaged-image`.
 */
export async function openTorcx(text: string, options: OpenOptions): Promise<OpenedTorcx> {
  const path = findPath(text);
  const name = parseTorcxName(basename(path))?.name;
  const named = name === undefined ? {} : { torcxName: name };
  if (statSync(path).isDirectory()) return { ...(await openImage({ kind: "dir", path }, options)), ...named };
  if (!startsWith(path, squashfsMagic)) return { ...(await openImage({ kind: "tar", path }, options)), ...named };
  const { rootfs, close } = await openExtension(path, options.context);
  return { image: { reference: path, config: emptyConfig }, rootfs, close, ...named };
}

/** A file of exactly that name comes first. */
function findPath(text: string): string {
  const found = [text, text.replace(/^(tar|dir):/, "")].find((path) => statSync(path, { throwIfNoEntry: false }));
  if (found !== undefined) return found;
  throw new FlixwrapError("oci-no-archive", { what: "cannot read the Torcx image", where: text, got: "no such file" });
}

function startsWith(path: string, magic: string): boolean {
  const fd = openSync(path, "r");
  try {
    const head = Buffer.alloc(magic.length);
    readSync(fd, head, 0, head.length, 0);
    return head.toString("latin1") === magic;
  } finally {
    closeSync(fd);
  }
}
