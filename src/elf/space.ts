import type { FileRange } from "./address.ts";
import { PF, PT, SHF } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { hasBytes } from "./sections.ts";
import { Ehdr, Phdr, Shdr, type Phdr as Segment } from "./structs.ts";

/** Which bytes of a file are in use, and which a read-only segment may take. */

/** File offsets, the end not included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Kernels map whole pages; no machine has smaller ones. */
export const smallestPage = 4096n;
/** Zeros up to here behind the last known byte are padding; anything else is a payload. */
const paddingMax = 16;
/** By how many bytes a gap between sections may exceed a block and still count as its former place: alignment. */
const gapTolerance = 64;

/** A range of a file by its begin and end instead of its length. */
export const spanOf = ({ offset, length }: FileRange): Span => ({ start: offset, end: offset + length });

const spanOfSegment = ({ offset, filesz }: Segment): Span => ({ start: Number(offset), end: Number(offset + filesz) });

const isWithin = (inner: Span, outer: Span): boolean => inner.start >= outer.start && inner.end <= outer.end;
const overlaps = (a: Span, b: Span): boolean => a.start < b.end && b.start < a.end;

/** The PT_LOADs that take bytes from the file. */
const filledLoads = (draft: Draft): Segment[] =>
  draft.segments.filter((one) => one.type === PT.LOAD && one.filesz > 0n);

/** Everything that headers say is in use, but for the PT_LOADs themselves and for what lies inside of `except`. */
function usedSpans(draft: Draft, except: readonly Span[] = []): Span[] {
  const { file, header, segments, sections } = draft;
  const spans: Span[] = [];
  // Asked some ten times for each file.
  const add = (at: bigint, size: number): void => {
    const span = { start: Number(at), end: Number(at) + size };
    if (size > 0 && !except.some((one) => isWithin(span, one))) spans.push(span);
  };
  add(0n, Ehdr.size(file));
  add(header.phoff, segments.length * Phdr.size(file));
  add(header.shoff, sections.length * Shdr.size(file));
  for (const section of sections) if (hasBytes(section)) add(section.offset, Number(section.size));
  for (const { type, offset, filesz } of segments) if (type !== PT.LOAD) add(offset, Number(filesz));
  return spans;
}

/** Where the bytes end that any header knows of. */
export function knownEnd(draft: Draft): number {
  return Math.max(...[...usedSpans(draft), ...filledLoads(draft).map(spanOfSegment)].map((span) => span.end));
}

/** How many bytes of somebody else follow the ELF file (AppImage, bun, self-extractors). */
export function payloadSize(draft: Draft): number {
  const end = knownEnd(draft);
  const extra = draft.file.source.size - end;
  return extra <= 0 || (extra < paddingMax && isZero(draft, end, end + extra)) ? 0 : extra;
}

/** PT_LOADs that can take strings: readable, not writable (musl's malloc takes the gaps of those, ldso/dynlink.c), without bss. */
export function readOnlyLoads(draft: Draft): Segment[] {
  const loads = filledLoads(draft);
  const delta = (one: Segment) => one.vaddr - one.offset;
  return (
    loads
      .filter((one) => (one.flags & (PF.R | PF.W)) === PF.R && one.filesz === one.memsz)
      // ldconfig before glibc 2.31 finds DT_STRTAB by the first PT_LOAD's delta (glibc BZ#25087); strings need not be executable.
      .map((one) => ({ one, rank: (delta(one) === delta(loads[0]!) ? 0 : 2) + ((one.flags & PF.X) === 0 ? 0 : 1) }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ one }) => one)
  );
}

/**
 * Whether the segment can take `wanted` bytes from `start` on (its end, or the start of what moves out of its tail).
 * Free bytes are followed by something known, so that a payload behind the file is never taken for them; or the
 * segment is the end of the file, which may grow.
 */
export function hasTailRoom(
  draft: Draft,
  segment: Segment,
  start: number,
  wanted: number,
  except: readonly Span[],
): boolean {
  const own = spanOfSegment(segment);
  const loads = filledLoads(draft).filter((one) => one !== segment);
  const others = [...usedSpans(draft, except), ...loads.map(spanOfSegment)];
  if (others.some((span) => span.start < start && span.end > start)) return false;
  const next = Math.min(...others.map((span) => (span.start >= start ? span.start : Infinity)));
  if (next === Infinity && own.end !== draft.file.source.size) return false;
  const end = start + wanted;
  if (end > next || !hasAddresses(draft, segment, end - own.start)) return false;
  // Bytes that nobody claims count as free only while they are zero.
  return isZero(draft, own.end, Math.min(end, draft.file.source.size));
}

/** Whether the segment may be `length` bytes long: no two PT_LOADs may share a page (kernel 4.17-5.3 MAP_FIXED_NOREPLACE). */
function hasAddresses(draft: Draft, segment: Segment, length: number): boolean {
  const end = segment.vaddr + BigInt(length);
  return draft.segments.every((one) => {
    if (one.type !== PT.LOAD || one === segment || one.vaddr < segment.vaddr) return true;
    const page = one.align > smallestPage ? one.align : smallestPage;
    return end <= one.vaddr - (one.vaddr % page);
  });
}

/** Whether everything behind the segment's end can be moved: nothing there is mapped. */
export function canShiftBehind(draft: Draft, segment: Segment, length: number, except: readonly Span[]): boolean {
  if (payloadSize(draft) > 0 && draft.limits.payload === "refuse") return false;
  const { end } = spanOfSegment(segment);
  const isMapped = (span: Span) => span.end > end && !except.some((one) => isWithin(span, one));
  return (
    !draft.segments.some((one) => one !== segment && isMapped(spanOfSegment(one))) &&
    draft.sections.every((one) => (one.flags & SHF.ALLOC) === 0n || !hasBytes(one) || Number(one.offset) < end) &&
    draft.sections.every(
      (one) => !hasBytes(one) || Number(one.offset) >= end || Number(one.offset + one.size) <= end,
    ) &&
    hasAddresses(draft, segment, length)
  );
}

/** Moves everything from `at` to the end of the file `count` bytes up, and tells the section headers. Nothing there is mapped. */
export function shiftTail(draft: Draft, at: number, count: number): void {
  const { header, sections, overlay, file } = draft;
  overlay.write(at, new Uint8Array(count));
  overlay.write(at + count, file.source.read(at, file.source.size - at));
  for (const section of sections) if (section.offset >= BigInt(at)) section.offset += BigInt(count);
  if (header.shoff >= BigInt(at)) header.shoff += BigInt(count);
  draft.size += count;
}

/** Whether a range in the middle of a segment has room for `wanted` bytes: itself and the zeros up to its next neighbour. */
export function hasInnerRoom(draft: Draft, range: FileRange, wanted: number): boolean {
  const own = spanOf(range);
  const others = usedSpans(draft, [own]);
  if (others.some((span) => overlaps(span, own))) return false;
  if (wanted <= range.length) return true;
  const segment = filledLoads(draft).find((one) => isWithin(own, spanOfSegment(one)));
  if (segment === undefined || draft.sections.length === 0) return false;
  const end = own.start + wanted;
  const room = { start: own.end, end };
  return (
    end <= spanOfSegment(segment).end && !others.some((span) => overlaps(span, room)) && isZero(draft, own.end, end)
  );
}

/** A hole between sections of a read-only segment that the bytes fill: the place that a moved block had before. */
export function findHole(draft: Draft, bytes: Uint8Array, except: readonly Span[]): number | undefined {
  if (draft.sections.length === 0) return undefined;
  const used = usedSpans(draft, except).sort((a, b) => a.start - b.start);
  const loads = readOnlyLoads(draft).map(spanOfSegment);
  let end = 0;
  for (const span of used) {
    const hole = { start: end, end: span.start };
    const size = hole.end - hole.start;
    end = Math.max(end, span.end);
    if (size < bytes.length || size >= bytes.length + gapTolerance) continue;
    if (!loads.some((load) => isWithin(hole, load))) continue;
    // Zeros, or what stayed behind when it moved.
    const isSame = Buffer.compare(draft.file.source.read(hole.start, bytes.length), bytes) === 0;
    if (isZero(draft, isSame ? hole.start + bytes.length : hole.start, hole.end)) return hole.start;
  }
  return undefined;
}

/** Whether a range is nobody's once its block has left it. */
export function isOwnedAlone(draft: Draft, range: FileRange): boolean {
  return draft.sections.length > 0 && !usedSpans(draft, [spanOf(range)]).some((span) => overlaps(span, spanOf(range)));
}

/** Whether another program header fits behind the table, unused and mapped with it. */
export function hasHeaderRoom(draft: Draft): boolean {
  const { file, header, segments, sections } = draft;
  const table = { start: Number(header.phoff), end: Number(header.phoff) + segments.length * Phdr.size(file) };
  const room = { start: table.end, end: table.end + Phdr.size(file) };
  const isMapped = filledLoads(draft).some((one) =>
    isWithin({ start: table.start, end: room.end }, spanOfSegment(one)),
  );
  return (
    sections.length > 0 &&
    isMapped &&
    !usedSpans(draft).some((span) => overlaps(span, room)) &&
    isZero(draft, room.start, room.end)
  );
}

function isZero(draft: Draft, start: number, end: number): boolean {
  return start >= end || !draft.file.source.read(start, end - start).some((byte) => byte !== 0);
}
