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
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
    stream: () => Readable.from(bytes.length === 0 ? [] : [bytes], { objectMode: false }),
  };
}

/** Replacement of the bytes from `offset` on; writes of one patch never overlap and are sorted by offset. */
export interface ByteWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}
