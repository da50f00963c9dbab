import { fstatSync, openSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Context } from "../../core/context.ts";
import { ownToken } from "../../host/process-token.ts";
import { digestOf, parseDigest, type Digest } from "../digest.ts";
import { cacheError, isMissing, isSystemError } from "./errors.ts";
import { makeCacheFolder } from "./folder.ts";
import { withLock } from "./lock.ts";
import { isSealed, openSealed, sealOf, type OpenFile } from "./seal.ts";
import { writeChecked, writeHashed } from "./write-layer.ts";

/**
 * A content-addressed store on disk: manifests and configurations in `blobs`, uncompressed layers by their
 * diffID in `layers`. Everything is written under `tmp`, checked, then renamed, so that any number of
 * processes may use it and a kill leaves only a file in `tmp` that the next run removes.
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
  ): Promise<OpenFile>;
  /** The same for a layer that only may be there. */
  findLayer(digest: Digest): Promise<OpenFile | undefined>;
  /** Keeps uncompressed bytes whose digest is not known before. */
  addLayer(chunks: Iterable<Uint8Array>): Promise<Digest>;
  /** What a key was made into, as a layer's digest: results of commands. */
  readResult(key: string): Digest | undefined;
  writeResult(key: string, digest: Digest): void;
  /** What was made from a layer, and can be made again: kept beside it as long as it is not touched. */
  readBeside(diffId: Digest, suffix: string): Buffer | undefined;
  writeBeside(diffId: Digest, suffix: string, bytes: Uint8Array): void;
}

/** @throws FlixwrapError `oci-cache` when the folder cannot be made or written. */
export function openCache(folder: string): Cache {
  const paths = makeCacheFolder(folder);
  const temporaryName = (): string => join(paths.temporary, `${ownToken()}-${randomBytes(6).toString("hex")}`);
  const explain = (error: unknown): unknown =>
    isSystemError(error) ? cacheError("cannot write to the cache", folder, error) : error;
  const beside = (diffId: Digest, suffix: string): string => `${paths.layer(diffId)}.${suffix}`;
  /** Writes a small file aside and renames it, so that nobody meets half of it. */
  const writeWhole = (path: string, bytes: string | Uint8Array, mode: number, sealed = false): void => {
    const aside = temporaryName();
    try {
      writeFileSync(aside, bytes, { flag: "wx", mode });
      if (sealed) utimesSync(aside, Date.now() / 1000, sealOf(bytes.length));
      renameSync(aside, path);
    } catch (error) {
      rmSync(aside, { force: true });
      throw explain(error);
    }
  };
  /** The same for a layer; `write` tells its digest. */
  const writeLayer = async (write: (path: string) => Promise<Digest>): Promise<Digest> => {
    const aside = temporaryName();
    try {
      const digest = await write(aside);
      renameSync(aside, paths.layer(digest));
      return digest;
    } catch (error) {
      rmSync(aside, { force: true });
      throw explain(error);
    }
  };

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
      const path = paths.blob(digest);
      try {
        const bytes = readFileSync(path);
        if (digestOf(bytes, digest) === digest) return bytes;
        rmSync(path, { force: true });
      } catch (error) {
        if (!isMissing(error)) throw cacheError("cannot read the cache", path, error);
      }
      return undefined;
    },
    writeBlob: (digest, bytes) => writeWhole(paths.blob(digest), bytes, 0o444),
    async openLayer(diffId, produce, context, stored = 0) {
      const path = paths.layer(diffId);
      const present = await openSealed(path, diffId);
      if (present !== undefined) return present;
      return await withLock(paths.lock(diffId), context.signal, async () => {
        const meanwhile = await openSealed(path, diffId);
        if (meanwhile !== undefined) return meanwhile;
        await writeLayer(async (aside) => {
          await writeChecked(aside, diffId, produce(), stored);
          return diffId;
        });
        const fd = openSync(path, "r");
        return { fd, size: fstatSync(fd).size };
      });
    },
    findLayer: async (digest) => await openSealed(paths.layer(digest), digest),
    addLayer: async (chunks) => await writeLayer((aside) => writeHashed(aside, chunks)),
    readResult(key) {
      try {
        return parseDigest(readFileSync(paths.result(key), "utf8"));
      } catch {
        return undefined;
      }
    },
    writeResult: (key, digest) => writeWhole(paths.result(key), digest, 0o666),
    readBeside(diffId, suffix) {
      const path = beside(diffId, suffix);
      try {
        return isSealed(statSync(path)) ? readFileSync(path) : undefined;
      } catch {
        return undefined;
      }
    },
    writeBeside(diffId, suffix, bytes) {
      try {
        writeWhole(beside(diffId, suffix), bytes, 0o444, true);
      } catch {
        // It only saves time.
      }
    },
  };
}
