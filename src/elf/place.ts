import type { FileRange } from "./address.ts";
import { appendSegment, takeBackSegment } from "./append.ts";
import { PT } from "./constants.ts";
import { useGrowth, type Draft } from "./draft.ts";
import {
  canShiftBehind,
  findHole,
  hasTailRoom,
  hasInnerRoom,
  isOwnedAlone,
  readOnlyLoads,
  shiftTail,
  smallestPage,
  spanOf,
} from "./space.ts";
import type { Phdr } from "./structs.ts";

/** A run of bytes that may move: the string table, the interpreter. */
export interface Block {
  /** Where it is in the file now. */
  readonly current: FileRange;
  /** What it must hold. */
  readonly bytes: Uint8Array;
  /** Whether the old bytes have to stay when it moves, because code may read them by address. */
  readonly staysBehind: boolean;
  /** Tells every header its new place. */
  moveTo(offset: number, address: bigint): void;
}

/** The end of a read-only segment, and the blocks there: they can be laid out anew together. */
interface Tail {
  readonly segment: Phdr;
  /** Where the first of the residents begins; the segment's end when there are none. */
  readonly start: number;
  /** In file order. */
  readonly residents: readonly Block[];
}

/**
 * Finds the cheapest place for every block: where it is; a hole that it left in an earlier edit; the tail of a read-only segment;
 * a new segment at the end of the file.
 */
export function placeBlocks(draft: Draft, blocks: readonly Block[]): void {
  const changed = blocks.filter((block) => !isSame(draft, block));
  if (changed.length === 0) return;
  const tails = readOnlyLoads(draft).map((segment) => tailOf(segment, blocks));
  const isResident = (block: Block) => tails.some(({ residents }) => residents.includes(block));
  const settled = new Set(
    changed.filter((block) => (isResident(block) ? goHome(draft, block) : placeInside(draft, block))),
  );
  const homeless = changed.filter((block) => !settled.has(block));
  const host = homeless.length === 0 ? undefined : findTail(draft, tails, homeless);
  for (const block of homeless) if (!isResident(block)) vacate(draft, block);
  for (const tail of tails) {
    const staying = tail.residents.filter((block) => !settled.has(block) && !homeless.includes(block));
    if (tail === host)
      layOut(
        draft,
        tail,
        union(
          tail.residents.filter((block) => !settled.has(block)),
          homeless,
        ),
      );
    else if (staying.length < tail.residents.length) layOut(draft, tail, staying);
  }
  if (homeless.length > 0 && host === undefined) {
    layOut(draft, { ...appendSegment(draft, total(homeless)), residents: [] }, homeless);
  }
  takeBackSegment(draft);
}

function tailOf(segment: Phdr, blocks: readonly Block[]): Tail {
  let start = Number(segment.offset + segment.filesz);
  const residents: Block[] = [];
  for (;;) {
    const last = blocks.find(
      ({ current }) => current.length > 0 && spanOf(current).end === start && BigInt(current.offset) > segment.offset,
    );
    if (last === undefined) return { segment, start, residents };
    residents.unshift(last);
    start = last.current.offset;
  }
}

/** The first tail that has room for its residents and the homeless; else one behind which room can be made. */
function findTail(draft: Draft, tails: readonly Tail[], homeless: readonly Block[]): Tail | undefined {
  const needs = tails.map((tail) => {
    const movers = union(tail.residents, homeless);
    return { tail, wanted: total(movers), except: movers.map((block) => spanOf(block.current)) };
  });
  const roomy = needs.find(({ tail, wanted, except }) => hasTailRoom(draft, tail.segment, tail.start, wanted, except));
  if (roomy !== undefined) return roomy.tail;
  const shiftable = needs.find(({ tail, wanted, except }) =>
    canShiftBehind(draft, tail.segment, tail.start + wanted - Number(tail.segment.offset), except),
  );
  if (shiftable === undefined) return undefined;
  const { tail, wanted } = shiftable;
  const end = Number(tail.segment.offset + tail.segment.filesz);
  const missing = tail.start + wanted - end;
  shiftTail(draft, end, Math.ceil(missing / Number(smallestPage)) * Number(smallestPage));
  return tail;
}

const union = (residents: readonly Block[], others: readonly Block[]): Block[] => [
  ...residents,
  ...others.filter((block) => !residents.includes(block)),
];

const total = (blocks: readonly Block[]): number => blocks.reduce((sum, block) => sum + block.bytes.length, 0);

function isSame(draft: Draft, { current, bytes }: Block): boolean {
  return (
    current.length === bytes.length &&
    Buffer.compare(draft.file.source.read(current.offset, current.length), bytes) === 0
  );
}

/** Puts a block where it was; what it no longer needs becomes zero. */
function placeInside(draft: Draft, block: Block): boolean {
  const { current, bytes } = block;
  if (!hasInnerRoom(draft, current, bytes.length)) return false;
  put(draft, block, current.offset);
  return true;
}

/** Puts a block that an earlier edit moved back between the sections where it came from. */
function goHome(draft: Draft, block: Block): boolean {
  const hole = findHole(draft, block.bytes, [spanOf(block.current)]);
  if (hole === undefined) return false;
  put(draft, block, hole);
  return true;
}

function put(draft: Draft, block: Block, offset: number): void {
  const length = Math.max(block.current.length, block.bytes.length);
  if (offset === block.current.offset) draft.overlay.write(offset, new Uint8Array(length));
  draft.overlay.write(offset, block.bytes);
  block.moveTo(offset, addressOf(draft, offset));
}

/** Nothing of the old text stays behind, so that the place is free for a later edit. */
function vacate(draft: Draft, { current, staysBehind }: Block): void {
  if (!staysBehind && !draft.limits.keepOld && isOwnedAlone(draft, current))
    draft.overlay.write(current.offset, new Uint8Array(current.length));
}

/** Writes the blocks one after the other from the tail's start on; the segment ends behind the last one. */
function layOut(draft: Draft, { segment, start }: Tail, blocks: readonly Block[]): void {
  const before = Number(segment.offset + segment.filesz);
  const end = start + total(blocks);
  if (end < before) draft.overlay.write(end, new Uint8Array(before - end));
  let at = start;
  for (const block of blocks) {
    draft.overlay.write(at, block.bytes);
    block.moveTo(at, segment.vaddr + BigInt(at) - segment.offset);
    at += block.bytes.length;
  }
  segment.filesz = BigInt(end) - segment.offset;
  segment.memsz = segment.filesz;
  if (before === draft.size || end > draft.size) draft.size = end;
  if (end > before) useGrowth(draft, "slack");
}

function addressOf(draft: Draft, offset: number): bigint {
  const at = BigInt(offset);
  const segment = draft.segments.find(
    (one) => one.type === PT.LOAD && at >= one.offset && at < one.offset + one.filesz,
  );
  return segment === undefined ? at : segment.vaddr + at - segment.offset;
}
