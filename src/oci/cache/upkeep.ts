import { closeSync, openSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../../core/context.ts";
import { interrupted } from "../../core/errors.ts";
import { openCache } from "./cache.ts";
import { VERSION } from "./folder.ts";
import { hasDigest, isSealed } from "./seal.ts";
import { parseDigest, type Digest } from "../digest.ts";
import { descriptorSource } from "../file-source.ts";
import { encodeIndex, INDEX_VERSION } from "../layer-index.ts";
import { readTar } from "../tar/tar.ts";

/** One file of the cache. */
export interface CacheEntry {
  /** `blob`: a manifest or configuration; `layer`: an uncompressed layer; `index`: made from it. */
  readonly kind: "blob" | "layer" | "index";
  readonly digest: Digest;
  readonly path: string;
  readonly bytes: number;
  readonly lastUsed: Date;
}

/** Everything in a cache folder, most recently used first. An absent folder is an empty cache. */
export function listCache(folder: string): CacheEntry[] {
  const found: CacheEntry[] = [];
  for (const kind of ["blob", "layer"] as const) {
    for (const algorithm of ["sha256", "sha512"]) {
      const place = join(folder, VERSION, `${kind}s`, algorithm);
      for (const name of namesIn(place)) {
        const path = join(place, name);
        const stat = statSync(path, { throwIfNoEntry: false });
        const [hex, suffix] = name.split(".", 2);
        const digest = asDigest(`${algorithm}:${hex}`);
        if (stat === undefined || digest === undefined) continue;
        const entry = { digest, path, bytes: stat.size, lastUsed: stat.atime };
        found.push({ kind: suffix === undefined ? kind : "index", ...entry });
      }
    }
  }
  return found.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function asDigest(text: string): Digest | undefined {
  try {
    return parseDigest(text);
  } catch {
    return undefined;
  }
}

/** What {@link pruneCache} leaves in the cache. */
export interface PruneOptions {
  /** Bytes that may stay; the least recently used go first. */
  readonly maxBytes?: number;
  /** What was used later than this stays in any case. */
  readonly before?: Date;
}

/** Removes what the options do not keep (with neither: everything) and tells what went. */
export function pruneCache(folder: string, { maxBytes = 0, before }: PruneOptions = {}): CacheEntry[] {
  const removed: CacheEntry[] = [];
  // A layer and its index live and die together; the list begins with the last used.
  const groups = new Map<string, CacheEntry[]>();
  let total = 0;
  for (const entry of listCache(folder)) {
    groups.set(entry.digest, [...(groups.get(entry.digest) ?? []), entry]);
    total += entry.bytes;
  }
  for (const group of [...groups.values()].reverse()) {
    if (total <= maxBytes || (before !== undefined && group[0]!.lastUsed >= before)) break;
    for (const entry of group) {
      rmSync(entry.path, { force: true });
      total -= entry.bytes;
      removed.push(entry);
    }
  }
  return removed;
}

/** What {@link verifyCache} found. */
export interface Verification {
  readonly checked: number;
  /** Files that were not what they are named after; they are removed. */
  readonly damaged: readonly CacheEntry[];
}

/**
 * Hashes everything again and removes what is damaged, so that it is fetched anew.
 * @throws FlixwrapError `interrupted`, `oci-cache`.
 */
export async function verifyCache(folder: string, context: Context): Promise<Verification> {
  // Removes what killed runs left, too.
  openCache(folder);
  const entries = listCache(folder);
  const damaged: CacheEntry[] = [];
  for (const [n, entry] of entries.entries()) {
    if (context.signal.aborted) throw interrupted();
    context.emit({ kind: "progress", what: "verified", done: n + 1, total: entries.length });
    if (await isIntact(entry)) continue;
    rmSync(entry.path, { force: true });
    damaged.push(entry);
  }
  return { checked: entries.length, damaged };
}

async function isIntact({ kind, path, digest }: CacheEntry): Promise<boolean> {
  const stat = statSync(path, { throwIfNoEntry: false });
  // Another process may have removed it meanwhile.
  if (stat === undefined) return true;
  if (kind === "blob") return await hasDigest(path, digest);
  if (!isSealed(stat)) return false;
  return kind === "layer" ? await hasDigest(path, digest) : isIndexOf(path);
}

/** An index is right when it is what its layer gives now; one of another version is of no use. */
function isIndexOf(path: string): boolean {
  const suffix = `.index${INDEX_VERSION}`;
  if (!path.endsWith(suffix)) return false;
  let fd: number;
  try {
    fd = openSync(path.slice(0, -suffix.length), "r");
  } catch {
    return false;
  }
  try {
    const archive = descriptorSource(fd, 0, statSync(path.slice(0, -suffix.length)).size, path);
    return encodeIndex([...readTar(archive, path)]).equals(readFileSync(path));
  } catch {
    return false;
  } finally {
    closeSync(fd);
  }
}
