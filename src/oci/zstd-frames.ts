import type { FlixwrapError } from "../core/errors.ts";

/** RFC 8878, 3.1.1 and 3.1.2, as little-endian numbers; the lowest four bits of the second are free. */
const FRAME = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;

/**
 * The data frames of a zstd stream, each as the pieces of its bytes; skippable frames are left out. Node's decoder
 * stops at the end of the first frame, and takes a cut one for whole (Node 22.23): so the ends are found here. Each
 * frame must be read to its end before the next one is asked for.
 * @throws what `damaged` makes, when the stream is cut or no zstd.
 */
export async function* splitFrames(
  chunks: AsyncIterable<Uint8Array>,
  damaged: () => FlixwrapError,
): AsyncGenerator<AsyncGenerator<Buffer>> {
  const input = openInput(chunks, damaged);
  while (!(await input.isAtEnd())) {
    const start = await input.take(4);
    const magic = start.readUInt32LE();
    if (magic === FRAME) yield frameBytes(start, input, damaged);
    else if ((magic & ~0xf) >>> 0 === SKIPPABLE) {
      const size = (await input.take(4)).readUInt32LE();
      for await (const _ of input.pass(size));
    } else throw damaged();
  }
}

async function* frameBytes(start: Buffer, input: Input, damaged: () => FlixwrapError): AsyncGenerator<Buffer> {
  const descriptor = await input.take(1);
  const flags = descriptor[0]!;
  const isSingle = (flags & 0x20) !== 0;
  const sizeField = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6]!;
  const header = (isSingle ? 0 : 1) + [0, 1, 2, 4][flags & 3]! + sizeField;
  yield Buffer.concat([start, descriptor, await input.take(header)]);
  for (let isLast = false; !isLast;) {
    const block = await input.take(3);
    const value = block.readUIntLE(0, 3);
    isLast = (value & 1) === 1;
    const type = (value >> 1) & 3;
    if (type === 3) throw damaged();
    yield block;
    // A block of one repeated byte states how often.
    yield* input.pass(type === 1 ? 1 : value >> 3);
  }
  if ((flags & 4) !== 0) yield await input.take(4);
}

interface Input {
  isAtEnd(): Promise<boolean>;
  /** Exactly so many bytes, a few. */
  take(length: number): Promise<Buffer>;
  /** The same in pieces, as they come. */
  pass(length: number): AsyncGenerator<Buffer>;
}

function openInput(chunks: AsyncIterable<Uint8Array>, damaged: () => FlixwrapError): Input {
  const source = chunks[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const fill = async (): Promise<boolean> => {
    while (rest.length === 0) {
      const next = await source.next();
      if (next.done) return false;
      rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    return true;
  };
  async function* pass(length: number): AsyncGenerator<Buffer> {
    for (let missing = length; missing > 0;) {
      if (!(await fill())) throw damaged();
      const piece = rest.subarray(0, missing);
      rest = rest.subarray(piece.length);
      missing -= piece.length;
      yield piece;
    }
  }
  return {
    isAtEnd: async () => !(await fill()),
    async take(length) {
      const pieces: Buffer[] = [];
      for await (const piece of pass(length)) pieces.push(piece);
      return Buffer.concat(pieces);
    },
    pass,
  };
}
