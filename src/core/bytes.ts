import { Readable } from "node:stream";

/**
 * Random access to an immutable run of bytes: a file inside a layer, a file of a folder, or memory.
 * Reading is synchronous: headers are a few hundred bytes from the page cache, and the loader's algorithm
 * stays as plain as its specification. Whole contents are streamed.
 */
export interface ByteSource {
  /** In bytes. */
  readonly size: number;
  /** The bytes `[offset, offset + length)`, cut short at the end of the source; never more, never negative. */
  read(offset: number, length: number): Uint8Array;
  /** All bytes from the beginning, in chunks. */
  stream(): Readable;
  /**
   * Opens the file of this machine that holds these bytes and no others, so that the kernel can copy it; the caller
   * closes the descriptor. Absent where there is no such file.
   */
  openFile?(): number;
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
    stream: () => Readable.from(bytes.length === 0 ? [] : [bytes], { objectMode: false }),
  };
}

/**
 * The same bytes, where many small reads near each other become few larger ones: each fetches `window` bytes, and the
 * last `kept` of these are remembered. For the time of one task; what is read through it must not be changed.
 */
export function windowedSource(source: ByteSource, window = 16_384, kept = 4): ByteSource {
  const windows: { readonly start: number; readonly bytes: Uint8Array }[] = [];
  return {
    size: source.size,
    stream: () => source.stream(),
    read(offset, length) {
      const end = Math.min(offset + length, source.size);
      if (length >= window || end <= offset) return source.read(offset, length);
      let found = windows.find(({ start, bytes }) => offset >= start && end <= start + bytes.length);
      if (found === undefined) {
        const page = offset - (offset % 4096);
        const start = page + window < end ? offset : page;
        found = { start, bytes: source.read(start, window) };
        windows.unshift(found);
        windows.length = Math.min(windows.length, kept);
      }
      return found.bytes.subarray(offset - found.start, end - found.start);
    },
  };
}

/** Whether two sources hold the same, byte for byte. */
export function isSameContent(a: ByteSource, b: ByteSource): boolean {
  if (a.size !== b.size) return false;
  const step = 1 << 20;
  for (let at = 0; at < a.size; at += step) if (Buffer.compare(a.read(at, step), b.read(at, step)) !== 0) return false;
  return true;
}

/** Replacement of the bytes from `offset` on; writes of one patch never overlap and are sorted by offset. */
export interface ByteWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}
