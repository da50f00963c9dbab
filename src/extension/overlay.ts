import { Readable } from "node:stream";
import type { ByteSource, ByteWrite } from "../core/bytes.ts";

/**
 * `base` with some bytes replaced and its end moved to `size`: what lies beyond the base and in no write is zero.
 * Nothing is read before it is asked for.
 */
export function overlaySource(base: ByteSource, writes: readonly ByteWrite[], size: number): ByteSource {
  for (const write of writes)
    if (write.offset < 0 || write.offset + write.bytes.length > size)
      throw new RangeError(
        `a write at ${write.offset} of ${write.bytes.length} bytes leaves the file of ${size} bytes`,
      );
  return {
    size,
    read(offset, length) {
      const end = Math.min(size, offset + length);
      if (end <= offset) return new Uint8Array(0);
      const bytes = new Uint8Array(end - offset);
      bytes.set(base.read(offset, end - offset));
      return applyWrites(bytes, offset, writes);
    },
    stream: () => Readable.from(overlayChunks(base, writes, size), { objectMode: false }),
  };
}

async function* overlayChunks(
  base: ByteSource,
  writes: readonly ByteWrite[],
  size: number,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  for await (const chunk of base.stream() as AsyncIterable<Uint8Array>) {
    const kept = chunk.subarray(0, size - offset);
    if (kept.length > 0) yield applyWrites(kept, offset, writes);
    offset += kept.length;
    if (offset === size) return;
  }
  const step = 65_536;
  for (; offset < size; offset += step)
    yield applyWrites(new Uint8Array(Math.min(step, size - offset)), offset, writes);
}

/** The chunk that stands at `offset`, or a changed copy of it where a write touches it. */
function applyWrites(chunk: Uint8Array, offset: number, writes: readonly ByteWrite[]): Uint8Array {
  const end = offset + chunk.length;
  const touching = writes.filter((write) => write.offset < end && write.offset + write.bytes.length > offset);
  if (touching.length === 0) return chunk;
  const copy = Uint8Array.from(chunk);
  for (const write of touching) {
    const from = Math.max(write.offset, offset);
    const to = Math.min(write.offset + write.bytes.length, end);
    copy.set(write.bytes.subarray(from - write.offset, to - write.offset), from - offset);
  }
  return copy;
}
