import { FlixwrapError } from "../core/errors.ts";
import type { Digest } from "./download.ts";

interface Sum {
  readonly hex: string;
  /** As written, without a leading `./` or `*`; undefined when the line holds the digest alone. */
  readonly name?: string;
}

/**
 * The lines of a checksum file. Upstreams write them as coreutils does (`HEX  NAME`, `HEX *NAME`), with one
 * blank only, as BSD does (`SHA256 (NAME) = HEX`), or the digest alone; other lines (signatures, comments) are passed over.
 */
export function parseSums(text: string): Sum[] {
  return text.split("\n").flatMap((whole): Sum[] => {
    // Blanks at the end are cut off first: a lazy pattern before `\s*$` would take quadratic time on a million of them.
    const line = whole.trimEnd();
    const bsd = /^SHA(?:256|512) ?\((.+)\) = ([0-9a-fA-F]+)$/.exec(line);
    if (bsd !== null) return isDigest(bsd[2]!) ? [{ hex: bsd[2]!.toLowerCase(), name: plainName(bsd[1]!) }] : [];
    const usual = /^([0-9a-fA-F]{64,128})(?:\s+\*?(\S.*))?$/.exec(line);
    if (usual === null || !isDigest(usual[1]!)) return [];
    const hex = usual[1]!.toLowerCase();
    return [usual[2] === undefined ? { hex } : { hex, name: plainName(usual[2]) }];
  });
}

/** sha256 or sha512, by its length. */
const isDigest = (hex: string): boolean => hex.length === 64 || hex.length === 128;
const plainName = (name: string): string => name.replace(/^\.\//, "");

/**
 * The digest that the checksum file at `address` has for `name`.
 * @throws FlixwrapError `recipe-sums` when there is none, or two that differ
 */
export function findSum(text: string, name: string, address: string): Digest {
  const sums = parseSums(text);
  const named = sums.filter((sum) => sum.name !== undefined);
  // A path before the name (`dist/NAME`) says where it lay when the list was made.
  const exact = named.filter((sum) => sum.name === name);
  const found = exact.length > 0 ? exact : named.filter((sum) => sum.name!.endsWith(`/${name}`));
  const lone = named.length === 0 && sums.length === 1 ? sums : found;
  const digests = new Set(lone.map((sum) => sum.hex));
  const [hex] = digests;
  if (hex !== undefined && digests.size === 1) {
    return { algorithm: hex.length === 64 ? "sha256" : "sha512", hex, source: address };
  }
  throw new FlixwrapError("recipe-sums", {
    what:
      digests.size > 1
        ? `the checksum file has ${digests.size} different digests for ${name}`
        : `the checksum file has no entry for ${name}`,
    where: address,
    got:
      named.length === 0
        ? `${sums.length} digests without names`
        : named
            .map((sum) => sum.name)
            .slice(0, 8)
            .join(", "),
  });
}
