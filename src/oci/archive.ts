import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import type { ByteSource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { Cache } from "./cache/cache.ts";
import { decompress, sniffCompression } from "./decompress.ts";
import { boundExpansion } from "./expansion.ts";
import { descriptorSource } from "./file-source.ts";
import { stackFiles } from "./layers.ts";
import type { Rootfs } from "./rootfs.ts";
import { BLOCK, verifyChecksum } from "./tar/header.ts";
import { treeRootfs } from "./tree.ts";

/** A tar archive as read-only files, whatever is in them. */
export interface OpenedArchive {
  readonly files: Rootfs;
  close(): void;
}

/**
 * Opens a tar file. A plain one is read where it stands, a compressed one from an uncompressed copy that has
 * no name and vanishes with the program.
 * @throws FlixwrapError `oci-no-archive`, `oci-bad-tar`, `oci-bad-compression`, `oci-too-large`.
 */
export async function openArchive(path: string, cache: Cache): Promise<OpenedArchive> {
  const fd = openFile(path);
  const { size } = fstatSync(fd);
  const head = Buffer.alloc(8);
  readSync(fd, head, 0, head.length, 0);
  const file = descriptorSource(fd, 0, size, path);
  if (sniffCompression(head) === "none") return indexed(fd, file, path);
  try {
    return await openArchiveStream(file.stream(), path, cache);
  } finally {
    closeSync(fd);
  }
}

/** The same for what can be read only once. */
export async function openArchiveStream(
  chunks: AsyncIterable<Uint8Array>,
  description: string,
  cache: Cache,
): Promise<OpenedArchive> {
  const { fd, source } = await spool(chunks, description, cache);
  return indexed(fd, source, description);
}

/**
 * Uncompressed bytes in a file without a name, which vanishes with its descriptor; the caller closes that.
 * @throws FlixwrapError `oci-bad-compression`, `oci-too-large`, `oci-cache`.
 */
export async function spool(
  chunks: AsyncIterable<Uint8Array>,
  description: string,
  cache: Cache,
): Promise<{ readonly fd: number; readonly source: ByteSource }> {
  let read = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      read += chunk.length;
      yield chunk;
    }
  }
  const fd = cache.openNameless();
  let size = 0;
  try {
    for await (const chunk of boundExpansion(decompress(counted(), description), () => read, description)) {
      for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
      size += chunk.length;
    }
  } catch (error) {
    closeSync(fd);
    throw cache.explain(error);
  }
  return { fd, source: descriptorSource(fd, 0, size, description) };
}

function openFile(path: string): number {
  const fail = (got: string, cause?: unknown): FlixwrapError =>
    new FlixwrapError("oci-no-archive", { what: "cannot read the archive", where: path, got }, { cause });
  try {
    // A pipe without a writer would hold up the whole program, deaf to every signal but SIGKILL.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
  } catch (cause) {
    throw fail((cause as NodeJS.ErrnoException).code === "ENOENT" ? "no such file" : (cause as Error).message, cause);
  }
  throw fail("no regular file");
}

/** What a pipe from a failed command brings, and files that were never archives: that is no damage. */
function checkBeginning(archive: ByteSource, where: string): void {
  const head = archive.read(0, BLOCK);
  const got =
    head.length === 0
      ? "nothing at all"
      : head.every((byte) => byte === 0) || hasChecksum(head)
        ? undefined
        : "something else";
  if (got !== undefined) throw new FlixwrapError("oci-no-archive", { what: "not a tar archive", where, got });
}

function hasChecksum(head: Uint8Array): boolean {
  try {
    verifyChecksum(head, (what) => new FlixwrapError("oci-bad-tar", { what }));
    return head.length === BLOCK;
  } catch {
    return false;
  }
}

function indexed(fd: number, archive: ByteSource, description: string): OpenedArchive {
  try {
    checkBeginning(archive, description);
    return { files: treeRootfs(description, stackFiles(archive, description).root), close: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
