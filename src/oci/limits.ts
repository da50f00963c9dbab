import { FlixwrapError } from "../core/errors.ts";

/** Bounds on what one image may make us hold or write: a megabyte that is compressed can promise terabytes. */
export interface ImageLimits {
  /** Files, folders and links of all layers together. */
  readonly entries: number;
  /** Bytes of all files together, as they would be on disk. */
  readonly bytes: number;
  /** Bytes of names, link targets, extended attributes and maps together: what is held in memory. */
  readonly meta: number;
  /** Parts of link targets that are walked through to find the places of all entries. */
  readonly steps: number;
}

/** Debian's whole archive has files enough for none of them; a bomb has. */
export const usualLimits: ImageLimits = { entries: 2_000_000, bytes: 64 * 2 ** 30, meta: 256 << 20, steps: 50_000_000 };

/** What an image has taken of its limits. @throws FlixwrapError `oci-too-large` from each of them. */
export interface Tally {
  entry(where: string): void;
  content(bytes: number, where: string): void;
  meta(bytes: number, where: string): void;
  steps(parts: number, where: string): void;
}

/** A tally that begins at nothing. */
export function openTally(limits: ImageLimits = usualLimits): Tally {
  const count = (limit: number, of: string): ((amount: number, where: string) => void) => {
    let sum = 0;
    return (amount, where) => {
      sum += amount;
      if (sum > limit) throw tooLarge(where, `more than ${limit} ${of}`);
    };
  };
  const entries = count(limits.entries, "entries");
  return {
    entry: (where) => entries(1, where),
    content: count(limits.bytes, "bytes"),
    meta: count(limits.meta, "bytes of names and attributes"),
    steps: count(limits.steps, "steps through links"),
  };
}

/** An image beyond its limits. */
const tooLarge = (where: string, got: string): FlixwrapError =>
  new FlixwrapError("oci-too-large", { what: "the image is larger than allowed", where, got });
