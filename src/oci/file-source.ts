import { createReadStream, readSync } from "node:fs";
import { Readable } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";

/** Bytes per chunk of a stream: 64 KiB cost a third more time with zlib behind it, 1 MiB a quarter more memory with several layers. */
export const CHUNK = 1 << 19;

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
export const sliceSource = (source: ByteSource, start: number, size: number): ByteSource =>
  sourceOf(size, (offset, length) => source.read(start + offset, length));

/** A source whose bytes `fill` computes into a buffer of zeros, given the place of its first byte. */
export const computedSource = (size: number, fill: (bytes: Uint8Array, start: number) => void): ByteSource =>
  sourceOf(size, (offset, length) => {
    const bytes = Buffer.alloc(length);
    fill(bytes, offset);
    return bytes;
  });

/** `read` is only called for ranges within the source. */
function sourceOf(size: number, read: (offset: number, length: number) => Uint8Array): ByteSource {
  const readWithin = (offset: number, length: number): Uint8Array =>
    read(offset, Math.max(0, Math.min(length, size - offset)));
  function* chunks(): Generator<Uint8Array> {
    for (let at = 0; at < size; at += CHUNK) yield readWithin(at, CHUNK);
  }
  return { size, read: readWithin, stream: () => Readable.from(chunks(), { objectMode: false }) };
}
