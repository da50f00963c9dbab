import { Readable } from "node:stream";
import type { ByteSource } from "../../core/bytes.ts";
import { damaged } from "../cursor.ts";
import type { Fragment, Image } from "./tables.ts";

/** Where a file's bytes are: full blocks from `start` on, the rest in a fragment. */
export interface FileLayout {
  readonly start: number;
  readonly size: number;
  /** Number of the fragment with the file's tail, or 0xffffffff. */
  readonly fragment: number;
  readonly fragmentOffset: number;
  /** Of the blocks, as they are stored; bit 24 marks those that are not compressed. */
  readonly sizes: readonly number[];
}

/** Expanded data blocks, the last few of them kept. */
export class BlockReader {
  readonly #image: Image;
  readonly #fragments: (index: number) => Fragment;
  readonly #recent = new Map<number, Uint8Array>();

  constructor(image: Image, fragments: (index: number) => Fragment) {
    this.#image = image;
    this.#fragments = fragments;
  }

  open(file: FileLayout): ByteSource {
    const { blockSize } = this.#image.head;
    const starts: number[] = [];
    let start = file.start;
    for (const size of file.sizes) {
      starts.push(start);
      start += size & 0xff_ffff;
    }
    const block = (index: number): Uint8Array => {
      const length = Math.min(blockSize, file.size - index * blockSize);
      if (index < file.sizes.length) return this.#read(starts[index]!, file.sizes[index]!, length);
      const fragment = this.#fragments(file.fragment);
      const whole = this.#read(fragment.start, fragment.size, undefined);
      if (file.fragmentOffset + length > whole.length) throw damaged(this.#image.name, "a file beyond its fragment");
      return whole.subarray(file.fragmentOffset, file.fragmentOffset + length);
    };
    const read = (offset: number, length: number): Uint8Array => {
      const end = Math.min(file.size, offset + length);
      if (end <= offset) return new Uint8Array(0);
      const parts: Uint8Array[] = [];
      for (let at = offset; at < end;) {
        const index = Math.floor(at / blockSize);
        const part = block(index).subarray(at - index * blockSize, end - index * blockSize);
        parts.push(part);
        at += part.length;
      }
      return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    };
    const chunks = function* (): Generator<Uint8Array> {
      for (let at = 0; at < file.size; at += blockSize) yield read(at, blockSize);
    };
    return { size: file.size, read, stream: () => Readable.from(chunks(), { objectMode: false }) };
  }

  /** `length` is known for all but fragments, which hold as much as they hold. */
  #read(start: number, word: number, length: number | undefined): Uint8Array {
    const size = word & 0xff_ffff;
    // A hole.
    if (size === 0) return new Uint8Array(length ?? 0);
    const known = this.#recent.get(start);
    if (known !== undefined) return known;
    const { source, name, head, expand } = this.#image;
    if (size > head.blockSize + 16 || start + size > source.size)
      throw damaged(name, `a block of ${size} bytes at ${start}`);
    const raw = source.read(start, size);
    const block = (word & (1 << 24)) === 0 ? expand([raw], head.blockSize, false)[0]! : raw;
    if (length !== undefined && block.length !== length)
      throw damaged(name, `a block of ${block.length} bytes`, `${length} bytes`);
    if (this.#recent.size >= 16) this.#recent.delete(this.#recent.keys().next().value!);
    this.#recent.set(start, block);
    return block;
  }
}
