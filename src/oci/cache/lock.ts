import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive, ownToken } from "../../host/process-token.ts";

/** Milliseconds between two looks at somebody else's lock. */
const POLL = 50;

/**
 * Runs `work` while no other process works under the same lock file. This saves double work and is not
 * needed for safety: results are renamed into place. So a lock whose owner is dead, or in another container
 * where that cannot be seen, is taken over.
 */
export async function withLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  while (!take(path)) {
    const owner = ownerOf(path);
    if (owner !== undefined && isAlive(owner) !== true) dropStale(path, owner);
    else await sleep(POLL, undefined, { signal });
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** Appears with its content at once: written aside, then linked, which fails when the name is taken. */
function take(path: string): boolean {
  const token = ownToken();
  const aside = asideName(path, token);
  writeFileSync(aside, token);
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function ownerOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Two waiters may see the same dead owner: what was moved away by mistake is put back. */
function dropStale(path: string, owner: string): void {
  const aside = asideName(path, ownToken());
  try {
    renameSync(path, aside);
    if (readFileSync(aside, "utf8") !== owner) linkSync(aside, path);
  } catch {
    // Somebody else was faster.
  } finally {
    rmSync(aside, { force: true });
  }
}

const asideName = (path: string, token: string): string =>
  path.replace(/[^/]+$/, `${token}-${randomBytes(6).toString("hex")}`);
