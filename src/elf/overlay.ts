import type { ByteSource, ByteWrite } from "../core/bytes.ts";

/** Bytes are compared by cells of so many; changed cells side by side become one write. */
const cellSize = 16;

/** Bytes written over a source that itself never changes. */
export interface Overlay {
  /** Later writes win over earlier ones. */
  write(offset: number, bytes: Uint8Array): void;
  /** What is different in the end: sorted, not overlapping, and all of what lies beyond the source's end. */
  finish(size: number): ByteWrite[];
}

/** An overlay of a file without any write yet. */
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
  const groups: { start: number; end: number; readonly order: number[] }[] = [];
  const order = [...writes.keys()].sort((a, b) => writes[a]!.offset - writes[b]!.offset);
  for (const index of order) {
    const { offset, bytes } = writes[index]!;
    const last = groups.at(-1);
    if (last !== undefined && offset <= last.end) {
      last.end = Math.max(last.end, offset + bytes.length);
      last.order.push(index);
    } else groups.push({ start: offset, end: offset + bytes.length, order: [index] });
  }
  return groups.map(({ start, end, order: members }) => {
    if (members.length === 1) return writes[members[0]!]!;
    const bytes = new Uint8Array(end - start);
    // In the order in which they were asked for: later ones win.
    for (const index of members.sort((a, b) => a - b)) bytes.set(writes[index]!.bytes, writes[index]!.offset - start);
    return { offset: start, bytes };
  });
}

/** The parts of a write that change the source. */
function differences({ offset, bytes }: ByteWrite, source: ByteSource): ByteWrite[] {
  const before = source.read(offset, bytes.length);
  const isChanged = (at: number) => at >= before.length || before[at] !== bytes[at];
  const runs: { start: number; end: number }[] = [];
  for (let cell = 0; cell < bytes.length; cell += cellSize) {
    const cellEnd = Math.min(cell + cellSize, bytes.length);
    let [start, end] = [cell, cellEnd];
    while (start < cellEnd && !isChanged(start)) start++;
    if (start === cellEnd) continue;
    while (!isChanged(end - 1)) end--;
    const last = runs.at(-1);
    if (last !== undefined && start - last.end < cellSize) last.end = end;
    else runs.push({ start, end });
  }
  return runs.map(({ start, end }) => ({ offset: offset + start, bytes: bytes.subarray(start, end) }));
}
