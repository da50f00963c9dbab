import { FlixwrapError } from "../core/errors.ts";

/** Bounds on what compressed data may become; a gzip bomb reaches 1,030 to 1. */
export interface ExpansionLimits {
  /** Bytes of one uncompressed layer. */
  readonly bytes: number;
  /** Uncompressed to compressed, beyond the first `free` bytes. */
  readonly ratio: number;
  readonly free: number;
}

/** The bounds of every layer, unless a caller has others. */
export const usualExpansion: ExpansionLimits = { bytes: 64 * 2 ** 30, ratio: 1000, free: 64 << 20 };

/**
 * Passes uncompressed chunks on while they stay within bounds; `compressed` tells how much was read so far.
 * @throws FlixwrapError `oci-too-large`.
 */
export async function* boundExpansion(
  chunks: AsyncIterable<Uint8Array>,
  compressed: () => number,
  what: string,
  limits: ExpansionLimits = usualExpansion,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    const isBomb = size > limits.free && size > compressed() * limits.ratio;
    if (size > limits.bytes || isBomb) {
      throw new FlixwrapError("oci-too-large", {
        what: `${what} expands too far`,
        got: `${size} bytes out of ${compressed()}`,
        wanted: `at most ${limits.bytes} bytes, ${limits.ratio} for each compressed one`,
      });
    }
    yield chunk;
  }
}
