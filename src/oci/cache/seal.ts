import { closeSync, fstatSync, futimesSync, openSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { checkDigest, type Digest } from "../digest.ts";
import { cacheError, isMissing } from "./errors.ts";

/**
 * Hashing a layer at each use would cost more than the conversion. So a finished file is sealed: its
 * modification time is a function of its size. Whatever writes to it, cuts it or copies it breaks the seal, and
 * then it is hashed again before it is used. Its access time is when it was last used.
 */
export function seal(fd: number, size: number): void {
  try {
    futimesSync(fd, Date.now() / 1000, sealOf(size));
  } catch {
    // Another user's cache, read-only for us: good enough to read.
  }
}

/** The modification time of a sealed file of so many bytes: seconds since 1970. */
export const sealOf = (size: number): number => 1 + (size % 1_000_000_000);

/** Whether a file is as it was when it was sealed. */
export const isSealed = ({ size, mtimeMs }: { readonly size: number; readonly mtimeMs: number }): boolean =>
  mtimeMs === sealOf(size) * 1000;

/** A file that is open for reading; whoever gets it closes `fd`. */
export interface OpenFile {
  readonly fd: number;
  /** Bytes. */
  readonly size: number;
}

/**
 * An intact file; undefined when there is none. Where the seal is broken the digest decides: the file is sealed anew,
 * or removed.
 * @throws FlixwrapError `oci-cache` when the file is there and cannot be opened.
 */
export async function openSealed(path: string, digest: Digest): Promise<OpenFile | undefined> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw cacheError("cannot read the cache", path, error);
  }
  const stat = fstatSync(fd);
  if (!isSealed(stat) && !(await hasDigest(path, digest))) {
    closeSync(fd);
    rmSync(path, { force: true });
    return undefined;
  }
  seal(fd, stat.size);
  return { fd, size: stat.size };
}

/** Whether a file still holds what it is named after. */
export async function hasDigest(path: string, digest: Digest): Promise<boolean> {
  const check = checkDigest(digest, path);
  const file = await open(path, "r");
  for await (const chunk of file.createReadStream({ highWaterMark: 1 << 20 })) check.update(chunk as Uint8Array);
  try {
    check.finish();
    return true;
  } catch {
    return false;
  }
}
