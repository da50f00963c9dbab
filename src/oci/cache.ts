import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  futimesSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { createHash, randomBytes } from "node:crypto";
import { userInfo } from "node:os";
import { basename, join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { withLock } from "./cache-lock.ts";
import { checkDigest, digestOf, parseDigest, splitDigest, type Digest } from "./digest.ts";
import { makeFolders } from "./make-folders.ts";
import { removeTree } from "./remove-tree.ts";
import { checkDigestInThread, inThisThread } from "./hash-thread.ts";
import { isAlive, ownToken } from "../host/process-token.ts";

/**
 * A content-addressed store on disk: manifests and configurations in `blobs`, uncompressed layers by their
 * diffID in `layers`. Everything is written under `tmp`, checked, then renamed, so that any number of
 * processes may use it and a kill leaves only a file in `tmp` that the next run removes.
 *
 * Hashing a layer at each use would cost more than the conversion. So a finished file is sealed: its
 * modification time is a function of its size. Whatever writes to it, cuts it or copies it breaks the seal, and
 * then it is hashed again before it is used. Its access time is when it was last used.
 */
export interface Cache {
  readonly folder: string;
  /** A path where this process may write; the next run removes what a killed one left. */
  temporaryName(): string;
  /** An open file for reading and writing that has no name. */
  openNameless(): number;
  /** An error of the system, met while writing here, in words; any other as it is. */
  explain(error: unknown): unknown;
  /** The bytes of a small blob when it is there and intact. */
  readBlob(digest: Digest): Buffer | undefined;
  writeBlob(digest: Digest, bytes: Uint8Array): void;
  /**
   * The uncompressed layer of a diffID as an open file, which its caller closes. It is made by `produce` when
   * it is not there; one process does so, others wait for it.
   * @throws FlixwrapError `oci-digest-mismatch` and whatever `produce` throws; nothing is kept then.
   */
  openLayer(
    diffId: Digest,
    produce: () => AsyncIterable<Uint8Array>,
    context: Context,
    /** Bytes as stored, as far as they are known: a large layer is hashed by another thread. */
    stored?: number,
  ): Promise<{ readonly fd: number; readonly size: number }>;
  /** The same for a layer that only may be there. */
  findLayer(digest: Digest): Promise<{ readonly fd: number; readonly size: number } | undefined>;
  /** Keeps uncompressed bytes whose digest is not known before. */
  addLayer(chunks: Iterable<Uint8Array>): Promise<Digest>;
  /** What a key was made into, as a layer's digest: results of commands. */
  readResult(key: string): Digest | undefined;
  writeResult(key: string, digest: Digest): void;
  /** What was made from a layer, and can be made again: kept beside it as long as it is not touched. */
  readBeside(diffId: Digest, suffix: string): Buffer | undefined;
  writeBeside(diffId: Digest, suffix: string, bytes: Uint8Array): void;
}

/** The first part changes with the format, so that an older program never meets a newer cache. */
export const VERSION = "v1";
/** Of another container's process, where nothing better can be known: seconds. */
const FOREIGN_AGE = 24 * 60 * 60;

/** `$XDG_CACHE_HOME/flixwrap`, else `~/.cache/flixwrap` (XDG base directory specification). */
export function usualCacheFolder(env: Context["env"]): string {
  // systemd's system services have no HOME; the user database has one.
  const home = env.HOME || ownHome();
  return join(env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(home, ".cache"), "flixwrap");
}

/** A number that is no user's has none (containers run as any). */
function ownHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    return "/";
  }
}

/** @throws FlixwrapError `oci-cache` when the folder cannot be made or written. */
export function openCache(folder: string): Cache {
  const root = join(folder, VERSION);
  const temporary = join(root, "tmp");
  const locks = join(root, "locks");
  try {
    for (const part of ["blobs/sha256", "blobs/sha512", "layers/sha256", "layers/sha512", "results", "tmp", "locks"]) {
      makeFolders(join(root, part));
    }
    accessSync(temporary, constants.W_OK);
    sweep(temporary, (path) => basename(path));
    sweep(locks, (path) => readFileSync(path, "utf8"));
  } catch (cause) {
    throw cacheError("cannot use the cache", folder, cause);
  }
  const temporaryName = (): string => join(temporary, `${ownToken()}-${randomBytes(6).toString("hex")}`);
  const pathOf = (kind: "blobs" | "layers", digest: Digest): string => join(root, kind, ...splitDigest(digest));

  const explain = (error: unknown): unknown =>
    isSystemError(error) ? cacheError("cannot write to the cache", folder, error) : error;

  return {
    folder,
    temporaryName,
    explain,
    openNameless() {
      const path = temporaryName();
      try {
        const fd = openSync(path, "wx+", 0o600);
        rmSync(path);
        return fd;
      } catch (error) {
        throw explain(error);
      }
    },
    readBlob(digest) {
      const path = pathOf("blobs", digest);
      try {
        const bytes = readFileSync(path);
        if (digestOf(bytes, digest) === digest) return bytes;
        rmSync(path, { force: true });
      } catch (error) {
        if (!isMissing(error)) throw cacheError("cannot read the cache", path, error);
      }
      return undefined;
    },
    writeBlob(digest, bytes) {
      const path = temporaryName();
      try {
        writeFileSync(path, bytes, { flag: "wx", mode: 0o444 });
        renameSync(path, pathOf("blobs", digest));
      } catch (error) {
        rmSync(path, { force: true });
        throw cacheError("cannot write to the cache", path, error);
      }
    },
    findLayer: async (digest) => await openSealed(pathOf("layers", digest), digest),
    async addLayer(chunks) {
      const path = temporaryName();
      const hash = createHash("sha256");
      try {
        const file = await open(path, "wx", 0o444);
        try {
          let size = 0;
          for (const chunk of chunks) {
            await writeAll(file, chunk);
            hash.update(chunk);
            size += chunk.length;
          }
          seal(file.fd, size);
        } finally {
          await file.close();
        }
        const digest: Digest = `sha256:${hash.digest("hex")}`;
        renameSync(path, pathOf("layers", digest));
        return digest;
      } catch (error) {
        rmSync(path, { force: true });
        throw explain(error);
      }
    },
    readResult(key) {
      try {
        return parseDigest(readFileSync(join(root, "results", key), "utf8"));
      } catch {
        return undefined;
      }
    },
    writeResult(key, digest) {
      const path = temporaryName();
      try {
        writeFileSync(path, digest, { flag: "wx" });
        renameSync(path, join(root, "results", key));
      } catch (error) {
        rmSync(path, { force: true });
        throw explain(error);
      }
    },
    readBeside(diffId, suffix) {
      const path = `${pathOf("layers", diffId)}.${suffix}`;
      try {
        const { size, mtimeMs } = statSync(path);
        return mtimeMs === sealOf(size) * 1000 ? readFileSync(path) : undefined;
      } catch {
        return undefined;
      }
    },
    writeBeside(diffId, suffix, bytes) {
      const path = temporaryName();
      try {
        writeFileSync(path, bytes, { flag: "wx", mode: 0o444 });
        utimesSync(path, Date.now() / 1000, sealOf(bytes.length));
        renameSync(path, `${pathOf("layers", diffId)}.${suffix}`);
      } catch {
        // It only saves time.
        rmSync(path, { force: true });
      }
    },
    async openLayer(diffId, produce, context, stored = 0) {
      const path = pathOf("layers", diffId);
      return (
        (await openSealed(path, diffId)) ??
        (await withLock(join(locks, splitDigest(diffId).join("-")), context.signal, async () => {
          const present = await openSealed(path, diffId);
          if (present !== undefined) return present;
          const made = temporaryName();
          try {
            await writeChecked(made, diffId, produce(), stored);
            renameSync(made, path);
          } catch (error) {
            rmSync(made, { force: true });
            throw explain(error);
          }
          const fd = openSync(path, "r");
          return { fd, size: fstatSync(fd).size };
        }))
      );
    },
  };
}

/** Seconds since 1970 that a finished file of this size bears. */
export const sealOf = (size: number): number => 1 + (size % 1_000_000_000);

/** An intact file, open; undefined when there is none. A broken seal is mended or the file removed. */
async function openSealed(path: string, digest: Digest): Promise<{ fd: number; size: number } | undefined> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw cacheError("cannot read the cache", path, error);
  }
  const { size, mtimeMs } = fstatSync(fd);
  if (mtimeMs !== sealOf(size) * 1000 && !(await hasDigest(path, digest))) {
    closeSync(fd);
    rmSync(path, { force: true });
    return undefined;
  }
  seal(fd, size);
  return { fd, size };
}

function seal(fd: number, size: number): void {
  try {
    futimesSync(fd, Date.now() / 1000, sealOf(size));
  } catch {
    // Another user's cache, read-only for us: good enough to read.
  }
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

/** Stored bytes from which a thread of its own for the digest pays. */
const LARGE = 16 << 20;

async function writeChecked(
  path: string,
  digest: Digest,
  chunks: AsyncIterable<Uint8Array>,
  stored: number,
): Promise<void> {
  const what = "an uncompressed layer";
  const check = stored >= LARGE ? checkDigestInThread(digest, what) : inThisThread(checkDigest(digest, what));
  const file = await open(path, "wx", 0o444);
  let size = 0;
  try {
    let writing: Promise<unknown> = Promise.resolve();
    for await (const chunk of chunks) {
      // The disk works while the next chunk is made.
      await writing;
      writing = writeAll(file, chunk);
      writing.catch(() => undefined);
      await check.update(chunk);
      size += chunk.length;
    }
    await writing;
    await check.finish();
    chmodSync(path, 0o444);
    seal(file.fd, size);
  } finally {
    check.close();
    await file.close();
  }
}

async function writeAll(
  file: { write: (chunk: Uint8Array, offset: number) => Promise<{ bytesWritten: number }> },
  chunk: Uint8Array,
): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
}

/** Removes what dead processes left. */
function sweep(folder: string, tokenOf: (path: string) => string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    try {
      const alive = isAlive(tokenOf(path));
      if (alive === false || (alive === undefined && isOld(path))) removeTree(path);
    } catch (error) {
      // It may be gone by now: its owner has finished.
      if (!isMissing(error)) throw error;
    }
  }
}

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > FOREIGN_AGE * 1000;
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && "syscall" in error && "errno" in error;

const isMissing = (error: unknown): boolean => isSystemError(error) && error.code === "ENOENT";

/** What the system refused in the cache, in words. */
export function cacheError(what: string, where: string, cause: unknown): FlixwrapError {
  const code = isSystemError(cause) ? cause.code : undefined;
  const got = {
    ENOSPC: "no space left",
    EACCES: "permission denied",
    EROFS: "a read-only file system",
    ENOTDIR: "a part of the path is not a folder",
    ENOENT: "no folder can be made there",
  }[code ?? ""];
  return new FlixwrapError(
    "oci-cache",
    {
      what,
      where,
      got: got ?? (cause instanceof Error ? cause.message : String(cause)),
      hint:
        code === "ENOSPC"
          ? "free some space with flixwrap cache prune, or choose another --cache-dir"
          : "choose another --cache-dir",
    },
    { cause },
  );
}
