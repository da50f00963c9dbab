import { FlixwrapError } from "../../core/errors.ts";

/** A file and its digest, lower-case hex. */
export interface Checksum {
  readonly name: string;
  readonly sha256: string;
}

/** The digest of nothing: what a BEST-BEFORE line carries (systemd-sysupdate of 260: systemd#40393). */
const ofNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/**
 * A SHA256SUMS file: sorted, each name once, names without folders (a slash makes systemd-sysupdate refuse the
 * whole file). `bestBefore` (`2027-01-31`) is the day from whose beginning on, in UTC, clients refuse the index as stale.
 * @throws FlixwrapError `pack-checksums`.
 */
export function formatChecksums(files: readonly Checksum[], bestBefore?: string): string {
  const lines = new Map<string, string>();
  const refuse = (got: string, why: string): never => {
    throw new FlixwrapError("pack-checksums", { what: `cannot be part of SHA256SUMS: ${why}`, got });
  };
  for (const { name, sha256 } of files) {
    if (!/^[^\s/\u0000-\u001f\\]([^/\u0000-\u001f\\]*[^\s/\u0000-\u001f\\])?$/.test(name))
      refuse(name, "no plain file name");
    if (!/^[0-9a-f]{64}$/.test(sha256)) refuse(sha256, "no SHA-256");
    if (lines.has(name) && lines.get(name) !== sha256) refuse(name, "two files of one name");
    lines.set(name, sha256);
  }
  if (bestBefore !== undefined) {
    if (!isDay(bestBefore)) refuse(bestBefore, "no day (YYYY-MM-DD)");
    lines.set(`BEST-BEFORE-${bestBefore}`, ofNothing);
  }
  const sorted = [...lines].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, sha256]) => `${sha256}  ${name}\n`).join("");
}

function isDay(text: string): boolean {
  const time = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(text) : Number.NaN;
  // 30 February is the 2 March to JavaScript, and nothing to systemd, which passes over it.
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
}

/** Reads what {@link formatChecksums} and sha256sum write; undefined for any other text. */
export function parseChecksums(text: string): readonly Checksum[] | undefined {
  const lines = text.split("\n").filter((line) => line !== "");
  const files = lines.flatMap((line) => {
    const match = /^([0-9a-f]{64}) [ *]([^/]+)$/.exec(line);
    return match === null ? [] : [{ sha256: match[1]!, name: match[2]! }];
  });
  return files.length === lines.length ? files : undefined;
}
