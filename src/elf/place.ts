import type { FileRange } from "./address.ts";
import { appendSegment } from "./append.ts";
import { PT } from "./constants.ts";
import { useGrowth, type Draft } from "./draft.ts";
import { hasTailRoom, innerRoom, readOnlyLoads, spanOf } from "./space.ts";
import type { Phdr } from "./structs.ts";

/** A run of bytes that may move: the string table, the interpreter. */
export interface Block {
  /** Where it is in the file now. */
  readonly current: FileRange;
  /** What it must hold. */
  readonly bytes: Uint8Array;
  /** Tells every header its new place. */
  moveTo(offset: number, address: bigint): void;
}

/** Finds the cheapest place for every block: where it is, in the tail of a read-only segment, at the end of the file. */
export function placeBlocks(draft: Draft, blocks: readonly Block[]): void {
  const loads = readOnlyLoads(draft);
  const tails = loads.map((segment) => tailOf(segment, blocks));
  const isResident = (block: Block) => tails.some(({ residents }) => residents.includes(block));
  const changed = blocks.filter((block) => !isSame(draft, block));
  const homeless = changed.filter((block) => isResident(block) || !placeInside(draft, block));
  if (homeless.length === 0) return;
  const tail = tails.find(({ segment, start, residents }) => {
    const movers = union(residents, homeless);
    return hasTailRoom(
      draft,
      segment,
      start,
      total(movers),
      movers.map((block) => spanOf(block.current)),
    );
  });
  if (tail === undefined) {
    const { segment, start } = appendSegment(draft, total(homeless));
    layOut(draft, segment, start, homeless);
    return;
  }
  layOut(draft, tail.segment, tail.start, union(tail.residents, homeless));
}

/** The blocks at the very end of a segment, in file order, and where they begin. They can be laid out anew together. */
function tailOf(segment: Phdr, blocks: readonly Block[]): { segment: Phdr; start: number; residents: Block[] } {
  let start = Number(segment.offset + segment.filesz);
  const residents: Block[] = [];
  for (;;) {
    const last = blocks.find(
      ({ current }) => current.length > 0 && spanOf(current).end === start && BigInt(current.offset) >= segment.offset,
    );
    if (last === undefined) return { segment, start, residents };
    residents.unshift(last);
    start = last.current.offset;
  }
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
  if (bytes.length > innerRoom(draft, current)) return false;
  draft.overlay.write(current.offset, new Uint8Array(Math.max(current.length, bytes.length)));
  draft.overlay.write(current.offset, bytes);
  block.moveTo(current.offset, addressOf(draft, current.offset));
  useGrowth(draft, "in-place");
  return true;
}

/** Writes the blocks one after the other from `start` on; the segment ends behind the last one. */
function layOut(draft: Draft, segment: Phdr, start: number, blocks: readonly Block[]): void {
  const before = Number(segment.offset + segment.filesz);
  let at = start;
  for (const block of blocks) {
    draft.overlay.write(at, block.bytes);
    block.moveTo(at, segment.vaddr + BigInt(at) - segment.offset);
    at += block.bytes.length;
  }
  segment.filesz = BigInt(at) - segment.offset;
  segment.memsz = segment.filesz;
  if (at < before) draft.overlay.write(at, new Uint8Array(before - at));
  if (before === draft.size || at > draft.size) draft.size = at;
  useGrowth(draft, at > before ? "slack" : "in-place");
}

function addressOf(draft: Draft, offset: number): bigint {
  const at = BigInt(offset);
  const segment = draft.segments.find(
    (one) => one.type === PT.LOAD && at >= one.offset && at < one.offset + one.filesz,
  );
  return segment === undefined ? at : segment.vaddr + at - segment.offset;
}
