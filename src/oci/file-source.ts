import { createReadStream, readSync } from "node:fs";
import { Readable } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";

/** Bytes per chunk of a stream; the default of 64 KiB costs a third more time with zlib behind it. */
export const CHUNK = 1 << 20;

/**
 * The bytes `[start, start + size)` of an open file. The descriptor stays its owner's; reading past what the
 * file really holds is an error, so that a truncated file is never taken for zeros.
 */
export function descriptorSource(fd: number, start: number, size: number, name: string): ByteSource {
  return {
    size,
    read(offset, length) {
      const wanted = Math.max(0, Math.min(length, size - offset));
      const bytes = Buffer.allocUnsafe(wanted);
      let filled = 0;
      while (filled < wanted) {
        const got = readSync(fd, bytes, filled, wanted - filled, start + offset + filled);
        if (got === 0) throw truncated(name);
        filled += got;
      }
      return bytes;
    },
    stream() {
      if (size === 0) return Readable.from([], { objectMode: false });
      // A path is required by the signature and ignored beside fd.
      return createReadStream("", { fd, autoClose: false, start, end: start + size - 1, highWaterMark: CHUNK });
    },
  };
}

const truncated = (name: string): FlixwrapError =>
  new FlixwrapError("oci-truncated", { what: "file is shorter than it was when it was opened", where: name });

/** A part of a source as a source of its own. */
export function sliceSource(source: ByteSource, start: number, size: number): ByteSource {
  return {
    size,
    read: (offset, length) => source.read(start + offset, Math.max(0, Math.min(length, size - offset))),
    stream: () => Readable.from(chunksOf(source, start, size), { objectMode: false }),
  };
}

function* chunksOf(source: ByteSource, start: number, size: number): Generator<Uint8Array> {
  for (let at = 0; at < size; at += CHUNK) yield source.read(start + at, Math.min(CHUNK, size - at));
}
