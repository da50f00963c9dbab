import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * `mkdir -p`, for the owner alone. Node's own never ends where a folder is there and takes no new one (ENOENT of proc(5),
 * and of autofs for an unknown HOME), because it makes the parent anew each time (seen with 20.20 below /proc).
 * @throws the error of the system.
 */
export function makeFolders(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && statSync(path).isDirectory()) return;
    if (code !== "ENOENT" || statSync(dirname(path), { throwIfNoEntry: false }) !== undefined) throw error;
    makeFolders(dirname(path));
    makeFolders(path);
  }
}
