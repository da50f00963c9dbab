import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";

/** The error for an image that contradicts itself; `where` names the image and the part. */
export function damaged(where: string, got: string, wanted?: string): FlixwrapError {
  return new FlixwrapError("pack-damaged-image", {
    what: "damaged or hostile image",
    where,
    got,
    ...defined({ wanted }),
  });
}

/** Reads little-endian numbers one after another; every read is inside the bytes or an error. */
export interface Cursor {
  u16(): number;
  i16(): number;
  u32(): number;
  /** @throws when it is beyond 2^53. */
  u64(): number;
  bytes(length: number): Uint8Array;
  skip(length: number): void;
}

/** A cursor at `offset` of `bytes`. @throws FlixwrapError `pack-damaged-image` at the first read beyond the end. */
export function cursorAt(bytes: Uint8Array, offset: number, where: string): Cursor {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = offset;
  const take = (length: number): number => {
    if (at < 0 || length < 0 || at + length > view.length)
      throw damaged(where, `a read of ${length} bytes at ${at}`, `at most ${view.length} bytes`);
    at += length;
    return at - length;
  };
  return {
    u16: () => view.readUInt16LE(take(2)),
    i16: () => view.readInt16LE(take(2)),
    u32: () => view.readUInt32LE(take(4)),
    u64: () => toSafe(view.readBigUInt64LE(take(8)), where),
    bytes: (length) => {
      const from = take(length);
      return view.subarray(from, from + length);
    },
    skip: (length) => void take(length),
  };
}

function toSafe(value: bigint, where: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(where, `a number of ${value}`);
  return Number(value);
}
