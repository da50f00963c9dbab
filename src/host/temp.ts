import { chmodSync, lstatSync, readdirSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { isAlive, ownToken } from "./process-token.ts";
import { isSystemError, wordSystemError } from "./system-error.ts";
import { currentUser } from "./user.ts";

const pending = new Set<string>();

/**
 * Gives `work` the path of a new folder (mode 0700, below TMPDIR) and removes it afterwards, whatever happens:
 * after success, after an error, and when the process ends in the middle. Nothing runs after SIGKILL: what that
 * leaves is removed by the next one.
 */
export async function withTempFolder<T>(context: Context, work: (folder: string) => Promise<T>): Promise<T> {
  const parent = context.env["TMPDIR"] || tmpdir();
  removeLeftovers(parent, "flixwrap-");
  const folder = await mkdtemp(join(parent, `flixwrap-${ownToken()}-`)).catch((error: unknown) => {
    throw wordSystemError(error, "host-temp-folder", "cannot make a temporary folder", parent);
  });
  return removeAfter(folder, () => work(folder));
}

/**
 * Removes what killed processes of this user left in a folder: names of the given prefix, a process's token, `-`
 * and anything; those that end in `keep` are kept. It is no error when that cannot be done.
 */
export function removeLeftovers(folder: string, prefix: string, keep?: string): void {
  try {
    for (const name of readdirSync(folder)) {
      const token = name.startsWith(prefix) ? /^\d+-\d+-\d+(?=-)/.exec(name.slice(prefix.length))?.[0] : undefined;
      if (token === undefined || isAlive(token) !== false) continue;
      if (keep !== undefined && name.endsWith(keep)) continue;
      const path = join(folder, name);
      // In a folder like /tmp anybody may use such a name.
      if (lstatSync(path).uid === currentUser().uid) removeTree(path);
    }
  } catch {
    // Another one may be at the same work.
  }
}

/** Runs `work` and then removes `path` (a file, a folder, or nothing), also when the process ends in the middle. */
export async function removeAfter<T>(path: string, work: () => Promise<T>): Promise<T> {
  if (pending.size === 0) process.on("exit", removePending);
  pending.add(path);
  try {
    return await work();
  } finally {
    removeTree(path);
    pending.delete(path);
    if (pending.size === 0) process.off("exit", removePending);
  }
}

function removePending(): void {
  for (const path of pending) removeTree(path);
}

/** `rm -rf`, also for folders that their owner may not write into (an extension may hold such folders). */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (!isSystemError(error) || (error.code !== "EACCES" && error.code !== "EPERM")) throw error;
    openFolders(Buffer.from(path));
    rmSync(path, { recursive: true, force: true });
  }
}

/** Names are bytes: as strings, those that are no UTF-8 would be lost. */
function openFolders(folder: Buffer): void {
  chmodSync(folder, 0o700);
  for (const entry of readdirSync(folder, { withFileTypes: true, encoding: "buffer" }))
    if (entry.isDirectory()) openFolders(Buffer.concat([folder, Buffer.from("/"), entry.name]));
}
