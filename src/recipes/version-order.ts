/** The order in which people release: numbers by value, a release candidate before its release. */

/** Words that come before the release they lead to, oldest first; every other word comes after it (`p1`, `r0`). */
const beforeRelease = ["dev", "snapshot", "alpha", "a", "beta", "b", "pre", "preview", "rc"];
const endOfVersion = 0;

/**
 * Negative when `a` is older than `b`, positive when newer, 0 when they name the same version. A leading `v`
 * means nothing; build suffixes count (`+k3s10` is newer than `+k3s9`, and both are newer than none).
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const order = comparePart(left[at], right[at]);
    if (order !== 0) return order;
  }
  return 0;
}

/** Newest first, equal names once. */
export function sortVersions(versions: Iterable<string>): string[] {
  return [...new Set(versions)].sort((a, b) => compareVersions(b, a) || (a < b ? -1 : 1));
}

/** Whether the version says of itself that it leads to a release: `3.0-rc1`, `1.2.0-beta.3`. */
export const isPrerelease = (version: string): boolean =>
  split(version).some((part) => typeof part === "string" && beforeRelease.includes(part));

/** The maintained branch a version belongs to: its first one (`major`) or two (`minor`) numbers, without `v`. */
export function branchOf(version: string, level: "major" | "minor"): string {
  const numbers = version.replace(/^v/, "").match(/^\d+(\.\d+)?/)?.[0] ?? version;
  return level === "major" ? numbers.split(".")[0]! : numbers;
}

/** Numbers and words, without what stands between them. */
function split(version: string): (bigint | string)[] {
  const parts =
    version
      .toLowerCase()
      .replace(/^v(?=\d)/, "")
      .match(/\d+|[a-z]+/g) ?? [];
  return parts.map((part) => (/^\d/.test(part) ? BigInt(part) : part));
}

function comparePart(a: bigint | string | undefined, b: bigint | string | undefined): number {
  if (typeof a === "bigint" && typeof b === "bigint") return a < b ? -1 : a > b ? 1 : 0;
  const byRank = rank(a) - rank(b);
  if (byRank !== 0) return byRank;
  return typeof a === "string" && typeof b === "string" && a !== b ? (a < b ? -1 : 1) : 0;
}

/** Pre-release words below the end of a version, other words above it, numbers above all: `1.0-rc1 < 1.0 < 1.0-r1 < 1.0.1`. */
function rank(part: bigint | string | undefined): number {
  if (part === undefined) return endOfVersion;
  if (typeof part === "bigint") return 2;
  const before = beforeRelease.indexOf(part);
  return before === -1 ? 1 : before - beforeRelease.length;
}

/** Up to `count` of the known versions that are spelt or numbered most like the unknown one. */
export function nearestVersions(unknown: string, known: readonly string[], count = 3): string[] {
  const wanted = split(unknown);
  const likeness = (candidate: string): number => {
    const parts = split(candidate);
    let same = 0;
    while (same < wanted.length && parts[same] === wanted[same]) same++;
    return same;
  };
  return sortVersions(known)
    .map((version, at) => ({ version, at, same: likeness(version) }))
    .sort((a, b) => b.same - a.same || a.at - b.at)
    .slice(0, count)
    .map((row) => row.version);
}
