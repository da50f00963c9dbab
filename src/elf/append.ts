import { PF, PT } from "./constants.ts";
import { useGrowth, type Draft } from "./draft.ts";
import { struct } from "./layout.ts";
import { refused } from "./problems.ts";
import { knownEnd, smallestPage } from "./space.ts";
import { Nhdr, Phdr } from "./structs.ts";

/** Read-only segments directly behind data look modified to eu-elflint (it takes a relocation's extent to be its symbol's size). */
const addressGap = 1n << 20n;
/** Zeros up to here behind the last known byte are padding; anything else is a payload (AppImage, bun, self-extractors). */
const paddingMax = 16;

/** What our segment begins with: an ELF note by which the edit can be taken back. */
const owner = "flixwrap";
const recordType = 1;
const Origin = struct({ index: "u32", reserved: "u32", fileSize: "native" });

/** A new read-only PT_LOAD at the end of the file, in the slot of a PT_NOTE, with room for `length` bytes from `start` on. */
export function appendSegment(draft: Draft, length: number): { segment: Phdr; start: number } {
  const { file } = draft;
  const loads = draft.segments.filter((one) => one.type === PT.LOAD);
  const index = chooseNote(draft.segments);
  if (index < 0 || loads.length === 0) {
    throw refused("elf-no-header", file, "no room for another segment", { wanted: "a PT_NOTE to replace" });
  }
  refusePayload(draft);
  const fileSize = file.source.size;
  const offset = BigInt(Math.ceil(fileSize / 8) * 8);
  const align = loads.reduce((most, one) => (one.align > most ? one.align : most), smallestPage);
  const end = loads.reduce((most, one) => (one.vaddr + one.memsz > most ? one.vaddr + one.memsz : most), 0n);
  const vaddr = ((end + addressGap + align - 1n) / align) * align + (offset % align);
  const note = draft.segments[index]!;
  const record = writeRecord(draft, note, index);
  const size = BigInt(record.length + length);
  if ((align & (align - 1n)) !== 0n || vaddr + size >= 1n << BigInt(file.bits)) {
    throw refused("elf-no-address", file, "no address left for another segment");
  }
  const segment: Phdr = {
    type: PT.LOAD,
    flags: PF.R,
    offset,
    vaddr,
    paddr: vaddr,
    filesz: BigInt(record.length),
    memsz: BigInt(record.length),
    align,
  };
  draft.overlay.write(Number(offset), record);
  draft.segments = insertLoad(
    draft.segments.filter((one) => one !== note),
    segment,
  );
  draft.size = Number(offset) + record.length;
  useGrowth(draft, "note");
  return { segment, start: draft.size };
}

/** PT_LOADs are sorted by address, and ours is the highest. */
function insertLoad(segments: readonly Phdr[], segment: Phdr): Phdr[] {
  const last = segments.findLastIndex((one) => one.type === PT.LOAD);
  return [...segments.slice(0, last + 1), segment, ...segments.slice(last + 1)];
}

/** Not the note that PT_GNU_PROPERTY shares, if there is another: kernel and glibc look there for IBT, SHSTK and BTI. */
function chooseNote(segments: readonly Phdr[]): number {
  const properties = segments.filter((one) => one.type === PT.GNU_PROPERTY);
  const isShared = (one: Phdr) => properties.some((property) => property.offset === one.offset);
  const plain = segments.findIndex((one) => one.type === PT.NOTE && !isShared(one));
  return plain >= 0 ? plain : segments.findIndex((one) => one.type === PT.NOTE);
}

function refusePayload(draft: Draft): void {
  const { file } = draft;
  const end = knownEnd(draft);
  const extra = file.source.size - end;
  if (extra <= 0) return;
  if (extra < paddingMax && !file.source.read(end, extra).some((byte) => byte !== 0)) return;
  throw refused("elf-payload", file, "the file would have to grow, but other data follows the ELF file", {
    got: `${extra} bytes from byte 0x${end.toString(16)} on`,
    hint: "programs that carry their payload at the end of the file find it there only",
  });
}

function writeRecord(draft: Draft, note: Phdr, index: number): Uint8Array {
  const { file } = draft;
  const name = Buffer.alloc(12);
  name.write(owner);
  const origin = Origin.write(file, { index, reserved: 0, fileSize: BigInt(file.source.size) });
  const phdr = Phdr.write(file, note);
  const header = Nhdr.write(file, { namesz: owner.length + 1, descsz: origin.length + phdr.length, type: recordType });
  return Buffer.concat([header, name, origin, phdr]);
}
