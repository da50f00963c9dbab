import { accessSync, constants, readdirSync, readFileSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { basename, join } from "node:path";
import type { Context } from "../../core/context.ts";
import { isAlive } from "../../host/process-token.ts";
import { splitDigest, type Digest } from "../digest.ts";
import { makeFolders } from "../make-folders.ts";
import { removeTree } from "../remove-tree.ts";
import { cacheError, isMissing } from "./errors.ts";

/** The first part of every path changes with the format, so that an older program never meets a newer cache. */
export const VERSION = "v1";

const FOLDERS = ["blobs/sha256", "blobs/sha512", "layers/sha256", "layers/sha512", "results", "tmp", "locks"];

/** `$XDG_CACHE_HOME/flixwrap`, else `~/.cache/flixwrap` (XDG base directory specification). */
export function usualCacheFolder(env: Context["env"]): string {
  // systemd's system services have no HOME; the user database has one.
  const home = env.HOME || ownHome();
  return join(env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(home, ".cache"), "flixwrap");
}

/** The home folder in the user database. Containers run as any number, and one that is no user's has none. */
function ownHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    return "/";
  }
}

/** The paths in a cache folder: blobs and layers by digest, results by key, locks by layer. */
export interface CachePaths {
  readonly temporary: string;
  blob(digest: Digest): string;
  layer(digest: Digest): string;
  result(key: string): string;
  lock(digest: Digest): string;
}

/**
 * Makes the folders and removes what killed runs left in them.
 * @throws FlixwrapError `oci-cache` when the folder cannot be made or written.
 */
export function makeCacheFolder(folder: string): CachePaths {
  const root = join(folder, VERSION);
  const temporary = join(root, "tmp");
  const locks = join(root, "locks");
  try {
    for (const part of FOLDERS) makeFolders(join(root, part));
    accessSync(temporary, constants.W_OK);
    sweep(temporary, (path) => basename(path));
    sweep(locks, lockOwner);
  } catch (cause) {
    throw cacheError("cannot use the cache", folder, cause);
  }
  return {
    temporary,
    blob: (digest) => join(root, "blobs", ...splitDigest(digest)),
    layer: (digest) => join(root, "layers", ...splitDigest(digest)),
    result: (key) => join(root, "results", key),
    lock: (digest) => join(locks, splitDigest(digest).join("-")),
  };
}

/** A lock says it by its content; before it has the lock's name it has its writer's, and after a kill maybe no content. */
const lockOwner = (path: string): string => (/^\d/.test(basename(path)) ? basename(path) : readFileSync(path, "utf8"));

/** Removes what dead processes left; `tokenOf` tells whose a file is. */
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

/** Milliseconds after which the file of another container's process is taken for left: nothing better can be known of it. */
const FOREIGN_AGE = 24 * 60 * 60 * 1000;

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > FOREIGN_AGE;
}
