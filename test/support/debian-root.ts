import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface RootChoice {
  /** Debian's word: `arm64`. This machine's when undefined. */
  readonly architecture?: string;
  /** `trixie`; this machine's when undefined. */
  readonly suite?: string;
  /** Run the packages' scripts, as an image has it; otherwise they are only unpacked, which takes seconds. */
  readonly configured?: boolean;
}

/**
 * A root with the given Debian packages and all they depend on. Roots are kept below the temporary folder, so that
 * test files and runs share them; tests must not write into them.
 */
export function debianRoot(packages: readonly string[], choice: RootChoice = {}): string {
  const own = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "bookworm";
  const { architecture, suite = own, configured = false } = choice;
  const variant = configured ? "minbase" : "extract";
  const names = packages.toSorted();
  const key = createHash("sha256").update(names.join()).digest("hex").slice(0, 8);
  const label = [suite, architecture, variant, names[0], key].filter(Boolean).join("-");
  const root = join(tmpdir(), `flixwrap-root-${label}`);
  if (existsSync(root)) return root;
  // Two test files may want the same root at once: each builds its own, the first one to finish stays.
  const building = `${root}.${process.pid}`;
  const mode = process.getuid?.() === 0 ? "root" : "unshare";
  const foreign = architecture === undefined ? [] : [`--arch=${architecture}`];
  execFileSync(
    "mmdebstrap",
    ["--quiet", `--variant=${variant}`, `--mode=${mode}`, ...foreign, `--include=${names.join(",")}`, suite, building],
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
