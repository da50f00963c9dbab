import type { FlixwrapError } from "../core/errors.ts";
import { decodeName } from "../core/names.ts";
import type { ByteSource } from "../core/bytes.ts";
import { PT } from "./constants.ts";
import { malformed } from "./problems.ts";
import type { Phdr } from "./structs.ts";

/** What reading needs of a file: its bytes and a name for messages. */
export interface Readable {
  readonly source: ByteSource;
  readonly name: string;
}

/** A file whose program headers are known. */
export interface Mapped extends Readable {
  readonly segments: readonly Phdr[];
}

/** A run of bytes of the file. */
export interface FileRange {
  readonly offset: number;
  readonly length: number;
}

/** Exactly `length` bytes from `offset`; anything that does not lie wholly inside the file is an `elf-malformed` error. */
export function readRange(file: Readable, offset: number | bigint, length: number | bigint, what: string): Uint8Array {
  const [start, size] = [Number(offset), Number(length)];
  // What is beyond 2^53 is rounded, but never down to the size of a file.
  if (start + size > file.source.size) {
    const end = BigInt(offset) + BigInt(length);
    throw malformed(file, offset, `${what} out of bounds`, `end at byte ${end}`, `at most ${file.source.size}`);
  }
  const bytes = file.source.read(start, size);
  if (bytes.length !== size) throw malformed(file, offset, `${what} cannot be read whole`);
  return bytes;
}

/**
 * Where the bytes at a virtual address lie in the file, and how many follow in the same segment; undefined for an address
 * that no PT_LOAD fills from the file. The first matching PT_LOAD counts, as for readelf.
 */
export function locate(file: Mapped, address: bigint): FileRange | undefined {
  for (const segment of file.segments) {
    if (segment.type !== PT.LOAD || address < segment.vaddr || address - segment.vaddr >= segment.filesz) continue;
    const skipped = address - segment.vaddr;
    const offset = segment.offset + skipped;
    const size = BigInt(file.source.size);
    if (offset >= size) return undefined;
    const filled = segment.filesz - skipped;
    return { offset: Number(offset), length: Number(offset + filled > size ? size - offset : filled) };
  }
  return undefined;
}

/** {@link locate} for many places of one table, by their distances from its `address`. */
export function openLocator(file: Mapped, address: bigint): (distance: number | bigint) => FileRange | undefined {
  const whole = locate(file, address);
  return (distance) => {
    const skipped = Number(distance);
    return whole !== undefined && skipped < whole.length
      ? { offset: whole.offset + skipped, length: whole.length - skipped }
      : locate(file, address + BigInt(distance));
  };
}

/** The bytes that the loader sees at `address`. */
export function readMapped(file: Mapped, address: bigint, length: number | bigint, what: string): Uint8Array {
  const range = locate(file, address);
  if (range === undefined || Number(length) > range.length) throw unmapped(file, range, address, what);
  return readRange(file, range.offset, length, what);
}

/** The error for what the file does not fill; `range` is as much as it does fill. */
export const unmapped = (file: Readable, range: FileRange | undefined, address: bigint, what: string): FlixwrapError =>
  malformed(file, range?.offset ?? 0, `${what} is not mapped from the file`, `address 0x${address.toString(16)}`);

/** What is read first of a string; most end within. */
const firstStep = 256;
const largestStep = 1 << 20;

/** The NUL-terminated string at `offset`, found within `length` bytes and not longer than `limit`. */
export function readString(file: Readable, offset: number, length: number, limit: number, what: string): string {
  const parts: Uint8Array[] = [];
  const most = Math.min(length, limit + 1);
  let done = 0;
  for (let step = firstStep; done < most; step = Math.min(step * 2, largestStep)) {
    const bytes = readRange(file, offset + done, Math.min(step, most - done), what);
    const end = bytes.indexOf(0);
    parts.push(end < 0 ? bytes : bytes.subarray(0, end));
    if (end >= 0) return decodeName(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    done += bytes.length;
  }
  throw malformed(file, offset, `${what} has no end`, `no NUL in ${most} bytes`);
}
