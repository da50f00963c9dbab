import type { FileRange } from "./address.ts";
import { PF, PT } from "./constants.ts";
import type { Draft } from "./draft.ts";
import { hasBytes } from "./sections.ts";
import { Ehdr, Phdr, Shdr, type Phdr as Segment } from "./structs.ts";

/** Which bytes of a file are in use, and which a read-only segment may take. */

/** File offsets, the end not included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export const spanOf = ({ offset, length }: FileRange): Span => ({ start: offset, end: offset + length });

const spanOfSegment = (segment: Segment): Span => ({
  start: Number(segment.offset),
  end: Number(segment.offset + segment.filesz),
});

const within = (inner: Span, outer: Span): boolean => inner.start >= outer.start && inner.end <= outer.end;

/** Kernels map whole pages; no machine has smaller ones. */
export const smallestPage = 4096n;

/** Everything that headers say is in use, but for the PT_LOADs themselves and for what lies inside of `except`. */
function usedSpans(draft: Draft, except: readonly Span[]): Span[] {
  const { file, header, segments, sections } = draft;
  const table = (at: bigint, size: number): Span => ({ start: Number(at), end: Number(at) + size });
  return [
    table(0n, Ehdr.size(file)),
    table(header.phoff, segments.length * Phdr.size(file)),
    table(header.shoff, sections.length * Shdr.size(file)),
    ...sections.filter(hasBytes).map(({ offset, size }) => ({ start: Number(offset), end: Number(offset + size) })),
    ...segments.filter((segment) => segment.type !== PT.LOAD).map(spanOfSegment),
  ].filter((span) => span.end > span.start && !except.some((one) => within(span, one)));
}

/** Where the bytes end that any header knows of; what lies behind is a payload of somebody else. */
export function knownEnd(draft: Draft): number {
  const spans = [...usedSpans(draft, []), ...draft.segments.filter((one) => one.type === PT.LOAD).map(spanOfSegment)];
  return Math.max(...spans.map((span) => span.end));
}

/** PT_LOADs that can take strings: mapped readable, not writable (musl's malloc takes those, ldso/dynlink.c reclaim), without bss. */
export function readOnlyLoads(draft: Draft): Segment[] {
  const first = draft.segments.find((one) => one.type === PT.LOAD);
  const delta = (one: Segment) => one.vaddr - one.offset;
  return (
    draft.segments
      .filter((one) => one.type === PT.LOAD && (one.flags & (PF.R | PF.W)) === PF.R)
      .filter((one) => one.filesz > 0n && one.filesz === one.memsz)
      // ldconfig before glibc 2.31 finds DT_STRTAB by the first PT_LOAD's delta (glibc BZ#25087); strings need not be executable.
      .map((one) => ({ one, rank: (delta(one) === delta(first!) ? 0 : 2) + ((one.flags & PF.X) === 0 ? 0 : 1) }))
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
  const loads = draft.segments.filter((one) => one.type === PT.LOAD && one !== segment);
  const others = [...usedSpans(draft, except), ...loads.map(spanOfSegment).filter((span) => span.end > span.start)];
  if (others.some((span) => span.start < start && span.end > start)) return false;
  const next = Math.min(...others.map((span) => (span.start >= start ? span.start : Infinity)));
  if (next === Infinity && own.end !== draft.file.source.size) return false;
  const inFile = next - start;
  const inMemory = Math.min(
    ...loads
      .filter((one) => one.vaddr >= segment.vaddr)
      .map((one) => Number(pageOf(one) - segment.vaddr) - (start - own.start)),
  );
  const room = Math.max(0, Math.min(inFile, inMemory));
  // Bytes that nobody claims count as free only while they are zero.
  return wanted <= room && isZero(draft, own.end, Math.min(start + wanted, draft.file.source.size));
}

/** The first byte of a segment's first page: no two PT_LOADs may share one. */
function pageOf({ vaddr, align }: Segment): bigint {
  const page = align > smallestPage ? align : smallestPage;
  return vaddr - (vaddr % page);
}

function isZero(draft: Draft, start: number, end: number): boolean {
  return start >= end || !draft.file.source.read(start, end - start).some((byte) => byte !== 0);
}

/** How far a range in the middle of a segment may reach: itself and the zero bytes between it and its next neighbour. */
export function innerRoom(draft: Draft, range: FileRange): number {
  const own = spanOf(range);
  if (draft.sections.length === 0) return range.length;
  const segment = draft.segments.find((one) => one.type === PT.LOAD && within(own, spanOfSegment(one)));
  if (segment === undefined) return range.length;
  const others = usedSpans(draft, [own]);
  if (others.some((span) => span.start < own.end && span.end > own.start)) return 0;
  const next = Math.min(
    spanOfSegment(segment).end,
    ...others.map((span) => (span.start >= own.end ? span.start : Infinity)),
  );
  return isZero(draft, own.end, next) ? next - own.start : range.length;
}
