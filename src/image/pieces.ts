import { Readable } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { damaged } from "./cursor.ts";

/** A run of a file's bytes; `read` counts from the run's begin and stays in it. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly read: (at: number, length: number) => Uint8Array;
}

/**
 * Runs that follow each other, in order, as one source. `isSparse`: what no run covers is zero, else it is damage
 * of the image that `name` names.
 */
export function piecesSource(name: string, size: number, all: readonly Piece[], isSparse = false): ByteSource {
  const read = (offset: number, length: number): Uint8Array => {
    const end = Math.min(size, offset + length);
    const parts: Uint8Array[] = [];
    for (let at = offset; at < end;) {
      const index = findPiece(all, at);
      const piece = all[index];
      const isInside = piece !== undefined && at >= piece.start && at < piece.end;
      if (!isInside && !isSparse) throw damaged(name, `a file without bytes at ${at}`);
      const until = isInside ? piece.end : (all[index + 1]?.start ?? size);
      const wanted = Math.min(end, until) - at;
      const part = isInside ? piece.read(at - piece.start, wanted) : new Uint8Array(wanted);
      if (part.length !== wanted) throw damaged(name, "a file that leaves the image");
      parts.push(part);
      at += wanted;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  };
  const step = 1 << 17;
  const chunks = function* (): Generator<Uint8Array> {
    for (let at = 0; at < size; at += step) yield read(at, step);
  };
  return { size, read, stream: () => Readable.from(chunks(), { objectMode: false }) };
}

/** The last piece that begins at `at` or before; -1 when all begin later. */
function findPiece(all: readonly Piece[], at: number): number {
  let [low, high] = [0, all.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (all[middle]!.start <= at) low = middle + 1;
    else high = middle - 1;
  }
  return high;
}
