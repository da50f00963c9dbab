import type { ByteSource, ByteWrite } from "../core/bytes.ts";

/** Runs of changed bytes with fewer equal ones between them become one write. */
const mergeBelow = 16;

/** Bytes written over a source that itself never changes. */
export interface Overlay {
  /** Later writes win over earlier ones. */
  write(offset: number, bytes: Uint8Array): void;
  /** What is different in the end: sorted, not overlapping, and all of what lies beyond the source's end. */
  finish(size: number): ByteWrite[];
}

export function openOverlay(source: ByteSource): Overlay {
  const writes: ByteWrite[] = [];
  return {
    write: (offset, bytes) => void (bytes.length > 0 && writes.push({ offset, bytes })),
    finish(size) {
      const added = size > source.size ? [{ offset: source.size, bytes: new Uint8Array(size - source.size) }] : [];
      return flatten([...added, ...writes])
        .map((write) => ({ offset: write.offset, bytes: write.bytes.subarray(0, Math.max(0, size - write.offset)) }))
        .flatMap((write) => differences(write, source));
    },
  };
}

/** The same effect by writes that neither overlap nor touch. */
function flatten(writes: readonly ByteWrite[]): ByteWrite[] {
  const spans: { start: number; end: number }[] = [];
  for (const { offset, bytes } of writes.toSorted((a, b) => a.offset - b.offset)) {
    const last = spans.at(-1);
    if (last !== undefined && offset <= last.end) last.end = Math.max(last.end, offset + bytes.length);
    else spans.push({ start: offset, end: offset + bytes.length });
  }
  const merged = spans.map(({ start, end }) => ({ offset: start, bytes: new Uint8Array(end - start) }));
  for (const { offset, bytes } of writes) {
    const span = merged[lastAtOrBefore(merged, offset)]!;
    span.bytes.set(bytes, offset - span.offset);
  }
  return merged;
}

/** The index of the last write that begins at `offset` or before it. */
function lastAtOrBefore(writes: readonly ByteWrite[], offset: number): number {
  let [low, high] = [0, writes.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (writes[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The parts of a write that change the source. */
function differences({ offset, bytes }: ByteWrite, source: ByteSource): ByteWrite[] {
  const before = source.read(offset, bytes.length);
  const runs: { start: number; end: number }[] = [];
  for (let at = 0; at < bytes.length; at++) {
    if (at < before.length && before[at] === bytes[at]) continue;
    const last = runs.at(-1);
    if (last !== undefined && at - last.end < mergeBelow) last.end = at + 1;
    else runs.push({ start: at, end: at + 1 });
  }
  return runs.map(({ start, end }) => ({ offset: offset + start, bytes: bytes.slice(start, end) }));
}
