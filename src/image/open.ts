import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { ByteSource } from "../core/bytes.ts";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { wordSystemError } from "../host/system-error.ts";
import { descriptorSource, sliceSource } from "../oci/file-source.ts";
import { openFolder } from "../oci/folder-rootfs.ts";
import { stackFiles } from "../oci/layers.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { type FolderInode, treeRootfs } from "../oci/tree.ts";
import { rootTypes } from "../pack/ddi/ddi.ts";
import { readGpt } from "../pack/ddi/gpt.ts";
import { type Format, recogniseFormat } from "../pack/formats.ts";
import { damaged } from "./cursor.ts";
import { readBtrfs } from "./btrfs.ts";
import { readExt } from "./ext.ts";
import { readErofs } from "./erofs.ts";
import { readSquashfs } from "./squashfs.ts";

/** An extension as it lies on a disk: an image file or a folder. */
export interface OpenedExtension {
  readonly path: string;
  /** As a host would see it: `b3sum.raw`. */
  readonly fileName: string;
  readonly format: Format;
  /** Bytes of the file; of a folder 0. */
  readonly size: number;
  readonly rootfs: Rootfs;
  close(): void;
}

/** File systems that are read here, without mounting anything and without any tool but a decompressor. */
const readers: Readonly<Partial<Record<Format, Reader>>> = {
  squashfs: readSquashfs,
  erofs: readErofs,
  ext4: readExt,
  ext2: readExt,
  btrfs: readBtrfs,
  ddi: readDdi,
  tar: readTarTree,
};

type Reader = (source: ByteSource, name: string) => FolderInode;

/** Files, no layer: a name that begins with `.wh.` is just a name. */
function readTarTree(source: ByteSource, name: string): FolderInode {
  return stackFiles(source, name).root;
}

/** The file system in the root partition of a disk image. */
function readDdi(source: ByteSource, name: string): FolderInode {
  const partitions = readGpt(source.read(0, 65_536), source.size);
  const root = partitions?.find(({ type }) => rootTypes.has(type));
  if (root === undefined) throw damaged(name, "a disk image without a root partition of a known architecture");
  const content = sliceSource(source, root.start, root.size);
  const format = recogniseFormat(content.read(0, 131_072));
  const read = format === undefined || format === "ddi" ? undefined : readers[format];
  if (read === undefined) throw unreadable(name, `a disk image with ${format ?? "an unknown file system"}`);
  return read(content, `${name}, root partition`);
}

/**
 * Opens an extension to look into it; nothing is unpacked.
 * @throws FlixwrapError `host-no-image` (missing, or not for this user), `pack-no-image` (nothing that can be read
 *   here), `pack-damaged-image`.
 */
export async function openExtension(path: string, context: Context): Promise<OpenedExtension> {
  const fileName = basename(resolve(path));
  const found = await stat(path).catch((error: unknown) => {
    throw notOpened(error, path);
  });
  if (found.isDirectory())
    return { path, fileName, format: "dir", size: 0, rootfs: openFolder(path, context), close: () => undefined };
  if (!found.isFile()) throw new FlixwrapError("pack-no-image", { what: "neither a file nor a folder", where: path });
  const fd = openToRead(path);
  try {
    const source = descriptorSource(fd, 0, fstatSync(fd).size, path);
    const format = recogniseFormat(source.read(0, 131_072));
    const read = format === undefined ? undefined : readers[format];
    if (format === undefined || read === undefined)
      throw unreadable(path, format ?? (source.size === 0 ? "an empty file" : "an unknown format"));
    const rootfs = treeRootfs(path, readTree(read, source, path));
    return { path, fileName, format, size: source.size, rootfs, close: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openToRead(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw notOpened(error, path);
  }
}

const notOpened = (error: unknown, path: string): unknown =>
  wordSystemError(error, "host-no-image", "cannot open the extension", path);

/** A bad tar, or an image beyond the limits that all images have: both are damaged to whoever looks into one. */
function readTree(read: Reader, source: ByteSource, path: string): FolderInode {
  try {
    return read(source, path);
  } catch (error) {
    if (error instanceof FlixwrapError && error.code.startsWith("oci-")) throw damaged(path, error.message);
    throw error;
  }
}

function unreadable(where: string, got: string): FlixwrapError {
  return new FlixwrapError("pack-no-image", {
    what: "no image of an extension that can be read here",
    where,
    got,
    wanted: `a folder, or an image of ${Object.keys(readers).join(", ")}`,
  });
}
