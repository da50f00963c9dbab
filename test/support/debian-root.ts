import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A root with the given Debian packages and all they depend on, unpacked but not configured. Roots are kept
 * below the temporary folder, so that test files and runs share them; tests must not write into them.
 */
export function debianRoot(packages: readonly string[], architecture?: string): string {
  const suite = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "bookworm";
  const names = packages.toSorted();
  const root = join(tmpdir(), `flixwrap-root-${[suite, architecture, ...names].filter(Boolean).join("+")}`);
  if (existsSync(root)) return root;
  // Two test files may want the same root at once: each builds its own, the first one to finish stays.
  const building = `${root}.${process.pid}`;
  const mode = process.getuid?.() === 0 ? "root" : "unshare";
  const foreign = architecture === undefined ? [] : [`--arch=${architecture}`];
  execFileSync(
    "mmdebstrap",
    ["--quiet", "--variant=extract", `--mode=${mode}`, ...foreign, `--include=${names.join(",")}`, suite, building],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  try {
    renameSync(building, root);
  } catch (error) {
    if (!existsSync(root)) throw error;
    rmSync(building, { recursive: true });
  }
  return root;
}
