import { existsSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * What takes long to make, as a folder or file `flixwrap-NAME` below the temporary folder: made once, shared by test
 * files and runs, which must not write into it. `make` gets the path to make it at, where nothing is yet.
 */
export function kept(name: string, make: (at: string) => void): string {
  const place = join(tmpdir(), `flixwrap-${name}`);
  if (existsSync(place)) return place;
  // Two test files may want the same at once: each makes its own, the first one to finish stays.
  const making = `${place}.${process.pid}`;
  try {
    make(making);
    renameSync(making, place);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    if (!existsSync(place)) throw error;
  }
  return place;
}
