import { readRange } from "./address.ts";
import { PF, PN_XNUM, PT } from "./constants.ts";
import { useGrowth, type Draft } from "./draft.ts";
import type { ElfFile } from "./file.ts";
import { countUp, growTable } from "./headers.ts";
import { struct } from "./layout.ts";
import { hex, refused } from "./problems.ts";
import { knownEnd, payloadSize, shiftTail, smallestPage } from "./space.ts";
import { Nhdr, Phdr, Shdr } from "./structs.ts";

/** The new segment at the end of the file, and how it is taken back. */

/** Read-only segments directly behind data look modified to eu-elflint (it takes a relocation's extent to be its symbol's size). */
const addressGap = 1n << 20n;
/** More than any program carries behind itself; it has to be held in memory. */
const payloadMax = 1 << 30;

/** What our segment begins with: an ELF note that tells which program header it took the slot of. */
const owner = "flixwrap";
const recordType = 1;
const Origin = struct({ index: "u32", reserved: "u32", fileSize: "native" });
const name = Buffer.from(`${owner}\0\0\0\0`);

/** A new read-only PT_LOAD with room for `length` bytes from `start` on. */
export function appendSegment(draft: Draft, length: number): { segment: Phdr; start: number } {
  const { file, limits } = draft;
  const loads = draft.segments.filter((one) => one.type === PT.LOAD);
  if (loads.length === 0) throw refused("elf-no-header", file, "no segment is loaded from this file");
  const align = loads.reduce((most, one) => (one.align > most ? one.align : most), BigInt(limits.pageSize));
  if ((align & (align - 1n)) !== 0n) throw refused("elf-no-address", file, "a segment's alignment is no power of two");
  const end = loads.reduce((most, one) => (one.vaddr + one.memsz > most ? one.vaddr + one.memsz : most), 0n);
  const base = refusePayload(draft);
  const index = chooseSlot(draft);
  const isTableMoved = index === undefined && !growTable(draft);
  const old = index === undefined ? undefined : draft.segments[index]!;
  // Such a segment begins with the table, and is not taken back.
  const record = isTableMoved ? new Uint8Array() : writeRecord(file, index, old);
  const tableSize = isTableMoved ? (draft.segments.length + 1) * Phdr.size(file) : 0;
  const place = isTableMoved ? placeTable(draft, loads[0]!, end, align, base) : placeFreely(end, align, base);
  const size = BigInt(record.length + tableSize + length);
  if (place.vaddr + size >= 1n << BigInt(file.bits)) {
    throw refused("elf-no-address", file, "no address left for another segment");
  }
  const filled = BigInt(record.length + tableSize);
  const segment: Phdr = {
    type: PT.LOAD,
    flags: PF.R,
    ...place,
    paddr: place.vaddr,
    filesz: filled,
    memsz: filled,
    align,
  };
  const offset = Number(place.offset);
  if (base < file.source.size) shiftTail(draft, base, roundUp(offset - base + Number(size), Number(smallestPage)));
  draft.overlay.write(offset, record);
  if (isTableMoved) moveTable(draft, place, record.length);
  draft.segments = insertLoad(
    draft.segments.filter((one) => one !== old),
    segment,
  );
  draft.size = Math.max(draft.size, offset + Number(filled));
  useGrowth(draft, old === undefined ? "headers" : "note");
  return { segment, start: offset + Number(filled) };
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

interface Place {
  readonly offset: bigint;
  readonly vaddr: bigint;
}

/** Bytes appended need no aligned offset: it has to equal the address modulo the alignment, no more. */
function placeFreely(end: bigint, align: bigint, base: number): Place {
  const offset = BigInt(roundUp(base, 8));
  return { offset, vaddr: ((end + addressGap + align - 1n) / align) * align + (offset % align) };
}

/**
 * Before 5.18 kernels compute AT_PHDR from the first PT_LOAD, so a table elsewhere has to be mapped at the same distance from its
 * offset: the file is padded as far as the memory goes.
 */
function placeTable(draft: Draft, first: Phdr, end: bigint, align: bigint, base: number): Place {
  const { file, limits } = draft;
  const delta = first.vaddr - first.offset;
  const from = ((end + align - 1n) / align) * align;
  const offset = from - delta > BigInt(base) ? from - delta : ((BigInt(base) + align - 1n) / align) * align;
  const padding = offset - BigInt(base);
  if (limits.padding === 0) {
    throw refused("elf-no-header", file, "no room for another program header", {
      hint: "the table would have to move, and GNU strip breaks files whose table is not at the beginning",
    });
  }
  if (delta % align !== 0n || draft.segments.length + 1 >= PN_XNUM || base < file.source.size) {
    throw refused("elf-no-header", file, "no room for another program header");
  }
  if (padding > BigInt(limits.padding)) {
    throw refused("elf-growth", file, "another program header would cost too much padding", {
      got: `${padding} bytes`,
      wanted: `at most ${limits.padding}`,
    });
  }
  return { offset, vaddr: offset + delta };
}

function moveTable(draft: Draft, place: Place, recordSize: number): void {
  const { header, segments } = draft;
  countUp(draft);
  useGrowth(draft, "table");
  header.phoff = place.offset + BigInt(recordSize);
  for (const segment of segments) {
    if (segment.type !== PT.PHDR) continue;
    segment.offset = header.phoff;
    segment.vaddr = place.vaddr + BigInt(recordSize);
    segment.paddr = segment.vaddr;
  }
}

/** PT_LOADs are sorted by address, and ours is the highest. */
function insertLoad(segments: readonly Phdr[], segment: Phdr): Phdr[] {
  const last = segments.findLastIndex((one) => one.type === PT.LOAD);
  return segments.toSpliced(last + 1, 0, segment);
}

/**
 * The header that gives way: an empty one, or a PT_NOTE; its section stays. Not the note that PT_GNU_PROPERTY shares, if
 * there is another: kernel and glibc look there for IBT, SHSTK and BTI.
 */
function chooseSlot({ segments }: Draft): number | undefined {
  const properties = segments.filter((one) => one.type === PT.GNU_PROPERTY);
  const isShared = (one: Phdr) => properties.some((property) => property.offset === one.offset);
  const choices = [
    segments.findIndex((one) => one.type === PT.NULL),
    segments.findIndex((one) => one.type === PT.NOTE && !isShared(one)),
    segments.findIndex((one) => one.type === PT.NOTE),
  ];
  return choices.find((index) => index >= 0);
}

/** Where the segment may begin. Behind a payload it would not be at the end any more, so that has to move or the edit is refused. */
function refusePayload(draft: Draft): number {
  const { file, header, sections, limits } = draft;
  const size = payloadSize(draft);
  if (size === 0) return file.source.size;
  if (limits.payload === "refuse" || size > payloadMax) {
    throw refused("elf-payload", file, "the file would have to grow, but other data follows the ELF file", {
      got: `${size} bytes from byte ${hex(file.source.size - size)} on`,
      hint: "programs that carry a payload look for it at their end or at a fixed offset",
    });
  }
  // An AppImage finds its payload by the end of the section headers: they move along.
  const end = knownEnd(draft);
  const tableEnd = Number(header.shoff) + sections.length * Shdr.size(file);
  return tableEnd === end && sections.length > 0 ? Number(header.shoff) : end;
}

function writeRecord(file: ElfFile, index: number | undefined, old: Phdr | undefined): Uint8Array {
  const origin =
    old === undefined
      ? new Uint8Array()
      : Origin.write(file, { index: index!, reserved: 0, fileSize: BigInt(file.source.size) });
  const phdr = old === undefined ? new Uint8Array() : Phdr.write(file, old);
  const descsz = origin.length + phdr.length;
  return Buffer.concat([Nhdr.write(file, { namesz: owner.length + 1, descsz, type: recordType }), name, origin, phdr]);
}

/** Takes back what an earlier edit appended, once nothing is left in it: the header in its slot again, the file as long as it was. */
export function takeBackSegment(draft: Draft): void {
  const { file } = draft;
  const isOld = (one: Phdr) => file.segments.some((before) => before.type === PT.LOAD && before.offset === one.offset);
  for (const segment of draft.segments) {
    const descsz = Origin.size(file) + Phdr.size(file);
    const length = Nhdr.size(file) + name.length + descsz;
    if (segment.type !== PT.LOAD || segment.filesz !== BigInt(length) || !isOld(segment)) continue;
    if (draft.size !== Number(segment.offset) + length) continue;
    const bytes = readRange(file, segment.offset, length, "record of an edit");
    const note = Nhdr.read(file, bytes);
    const at = Nhdr.size(file) + name.length;
    if (
      note.type !== recordType ||
      note.descsz !== descsz ||
      Buffer.compare(bytes.subarray(at - name.length, at), name) !== 0
    )
      continue;
    const { index, fileSize } = Origin.read(file, bytes, at);
    if (fileSize > segment.offset || segment.offset - fileSize >= 8n || index >= draft.segments.length) continue;
    const rest = draft.segments.filter((one) => one !== segment);
    draft.segments = rest.toSpliced(index, 0, Phdr.read(file, bytes, at + Origin.size(file)));
    draft.size = Number(fileSize);
    return;
  }
}
