import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { kept } from "./kept.ts";

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
  const mode = process.getuid?.() === 0 ? "root" : "unshare";
  const foreign = architecture === undefined ? [] : [`--arch=${architecture}`];
  const words = [
    "--quiet",
    `--variant=${variant}`,
    `--mode=${mode}`,
    ...foreign,
    `--include=${names.join(",")}`,
    suite,
  ];
  return kept(
    `root-${label}`,
    (at) => void execFileSync("mmdebstrap", [...words, at], { stdio: ["ignore", "ignore", "pipe"] }),
  );
}
