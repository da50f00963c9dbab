import { createHash, randomBytes } from "node:crypto";
import { createReadStream, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeFolders } from "../oci/make-folders.ts";

/** What is known of an address that was fetched before. */
export interface CachedFile {
  readonly address: string;
  /** Hexadecimal. */
  readonly sha256: string;
  readonly size: number;
  readonly etag?: string;
  /** The `Link` header of a paged answer. */
  readonly link?: string;
}

/**
 * Downloads by digest, and what address gave which digest:
 * `sha256/<hex>`, `address/<sha256 of the address>.json`, `partial/<sha256 of the address>`.
 */
export interface DownloadCache {
  readonly folder: string;
  find(address: string): CachedFile | undefined;
  /** Path of the content; undefined when it is not there in the size that was recorded. */
  content(file: Pick<CachedFile, "sha256" | "size">): string | undefined;
  /** Where an unfinished download of the address stands. */
  partial(address: string): string;
  /** Moves a finished, checked file in and remembers its address. */
  adopt(path: string, file: CachedFile): string;
}

/** The cache below `folder`, which is made when the first file comes. */
export function openDownloadCache(folder: string): DownloadCache {
  const key = (address: string): string => createHash("sha256").update(address).digest("hex");
  const record = (address: string): string => join(folder, "address", `${key(address)}.json`);
  const blob = (sha256: string): string => join(folder, "sha256", sha256);
  return {
    folder,
    find(address) {
      const text = readIfThere(record(address));
      if (text === undefined) return undefined;
      const file = parseRecord(text);
      return file?.address === address ? file : undefined;
    },
    content(file) {
      const path = blob(file.sha256);
      return sizeOf(path) === file.size ? path : undefined;
    },
    partial: (address) => join(folder, "partial", key(address)),
    adopt(path, file) {
      const goal = blob(file.sha256);
      makeFolders(dirname(goal));
      renameSync(path, goal);
      writeWhole(record(file.address), JSON.stringify(file));
      return goal;
    },
  };
}

/** A record that is damaged is as good as none: the file is fetched again. */
function parseRecord(text: string): CachedFile | undefined {
  try {
    const value = JSON.parse(text) as CachedFile;
    const sound = /^[0-9a-f]{64}$/.test(value.sha256) && Number.isSafeInteger(value.size);
    return sound ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Written beside its goal and renamed, so that a kill leaves no half file. */
export function writeWhole(path: string, content: string | Uint8Array): void {
  makeFolders(dirname(path));
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Bytes of a file; undefined when there is none. */
export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** The text of a file; undefined when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** The digest of a file, hexadecimal. */
export async function hashFile(path: string, algorithm: "sha256" | "sha512"): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
