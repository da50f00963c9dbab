import { windowedSource } from "../core/bytes.ts";
import { decodeName } from "../core/names.ts";
import { readRange } from "./address.ts";
import { PT, SHT } from "./constants.ts";
import type { ElfFile } from "./file.ts";
import { malformed } from "./problems.ts";
import { readSections } from "./sections.ts";
import { Nhdr } from "./structs.ts";

/** Notes (gABI chapter 5, "Note Section"), and those of them that matter to us. */

export interface Note {
  /** `GNU`, `FDO`, `stapsdt` ... */
  readonly owner: string;
  readonly type: number;
  readonly description: Uint8Array;
  /** Of the note in the file. */
  readonly offset: number;
}

/** Types of owner `GNU` (glibc <elf.h>). */
export const NT_GNU = { ABI_TAG: 1, BUILD_ID: 3, GOLD_VERSION: 4, PROPERTY_TYPE_0: 5 } as const;
/** UAPI.12, "ELF dlopen() metadata". */
const dlopenNote = 0x407c0c0a;

/** Core files have notes of hundreds of megabytes; none of ours exceeds some kilobytes. */
const notesMax = 16 << 20;

/** All notes of PT_NOTE segments and SHT_NOTE sections, each once, in file order. */
export function readNotes(unread: ElfFile): Note[] {
  // Segment and section are mostly the same bytes.
  const file = { ...unread, source: windowedSource(unread.source, 4096) };
  const segments = file.segments
    .filter((one) => one.type === PT.NOTE)
    .map(({ offset, filesz, align }) => ({ offset, size: filesz, align }));
  const sections = readSections(file)
    .filter((one) => one.type === SHT.NOTE)
    .map(({ offset, size, addralign }) => ({ offset, size, align: addralign }));
  const notes = new Map<number, Note>();
  for (const area of [...segments, ...sections]) {
    if (area.size > BigInt(notesMax)) throw malformed(file, area.offset, "notes are too large", `${area.size} bytes`);
    const bytes = readRange(file, area.offset, area.size, "notes");
    for (const note of splitNotes(file, bytes, Number(area.offset), area.align === 8n ? 8 : 4)) {
      notes.set(note.offset, note);
    }
  }
  return [...notes.values()].sort((a, b) => a.offset - b.offset);
}

function* splitNotes(file: ElfFile, bytes: Uint8Array, base: number, align: number): Generator<Note> {
  const size = Nhdr.size(file);
  const aligned = (at: number) => Math.ceil(at / align) * align;
  for (let at = 0; at + size <= bytes.length;) {
    const { namesz, descsz, type } = Nhdr.read(file, bytes, at);
    const name = at + size;
    const description = aligned(name + namesz);
    const end = description + descsz;
    if (end > bytes.length) throw malformed(file, base + at, "note out of bounds", `${namesz} + ${descsz} bytes`);
    yield {
      owner: decodeName(bytes.subarray(name, name + namesz)).replace(/\0+$/, ""),
      type,
      description: bytes.subarray(description, end),
      offset: base + at,
    };
    at = aligned(end);
  }
}

/** The build-id in hexadecimal digits, as `file` and debuginfod spell it. */
export function buildIdOf(notes: readonly Note[]): string | undefined {
  const note = notes.find(({ owner, type }) => owner === "GNU" && type === NT_GNU.BUILD_ID);
  return note === undefined ? undefined : Buffer.from(note.description).toString("hex");
}

/** What a file says it runs on (NT_GNU_ABI_TAG). */
export interface AbiTag {
  /** 0 Linux, 1 GNU (the Hurd), 2 Solaris, 3 FreeBSD (glibc <elf.h>, ELF_NOTE_OS_*). */
  readonly system: number;
  /** The oldest kernel that serves: major, minor, patch. */
  readonly kernel: readonly [number, number, number];
}

/** The ABI tags of a file; linkers leave one for each kind of start file. */
export function abiTagsOf(file: ElfFile, notes: readonly Note[]): AbiTag[] {
  return notes
    .filter(({ owner, type, description }) => owner === "GNU" && type === NT_GNU.ABI_TAG && description.length >= 16)
    .map(({ description }) => {
      const view = new DataView(description.buffer, description.byteOffset, description.length);
      const word = (index: number): number => view.getUint32(index * 4, file.endian === "little");
      return { system: word(0), kernel: [word(1), word(2), word(3)] };
    });
}

/** One property of a file, uninterpreted. */
export interface GnuProperty {
  /** pr_type: 0xc0000002 are x86's IBT and SHSTK bits, 0xc0000000 AArch64's BTI and PAC bits. */
  readonly type: number;
  readonly data: Uint8Array;
}

/** The properties in NT_GNU_PROPERTY_TYPE_0 notes (Linux ABI extensions to the gABI, section 2.1.7). */
export function gnuPropertiesOf(file: ElfFile, notes: readonly Note[]): GnuProperty[] {
  const align = file.bits / 8;
  return notes
    .filter(({ owner, type }) => owner === "GNU" && type === NT_GNU.PROPERTY_TYPE_0)
    .flatMap(({ description }) => {
      const view = new DataView(description.buffer, description.byteOffset, description.length);
      const little = file.endian === "little";
      const properties: GnuProperty[] = [];
      for (let at = 0; at + 8 <= description.length;) {
        const size = view.getUint32(at + 4, little);
        const end = at + 8 + size;
        if (end > description.length) break;
        properties.push({ type: view.getUint32(at, little), data: description.subarray(at + 8, end) });
        at = Math.ceil(end / align) * align;
      }
      return properties;
    });
}

/** One use of dlopen(3) that a file declares: any one of the sonames serves it, the first that is there is taken. */
export interface DlopenEntry {
  readonly sonames: readonly string[];
  readonly feature?: string;
  readonly description?: string;
  readonly priority: "required" | "recommended" | "suggested";
}

/** The entries of `.note.dlopen` (UAPI.12); a note that is not its JSON is passed over, as systemd does. */
export function dlopenEntriesOf(notes: readonly Note[]): DlopenEntry[] {
  return notes.filter(({ type }) => type === dlopenNote).flatMap(({ description }) => parseDlopen(description));
}

function parseDlopen(description: Uint8Array): DlopenEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(decodeName(description).replace(/\0+$/, ""));
  } catch {
    return [];
  }
  return Array.isArray(value) ? value.flatMap((entry: unknown) => parseDlopenEntry(entry)) : [];
}

function parseDlopenEntry(value: unknown): DlopenEntry[] {
  if (typeof value !== "object" || value === null) return [];
  const { soname, feature, description, priority } = value as Record<string, unknown>;
  if (!Array.isArray(soname)) return [];
  const sonames = soname.filter((name) => typeof name === "string");
  if (sonames.length === 0) return [];
  return [
    {
      sonames,
      ...(typeof feature === "string" ? { feature } : {}),
      ...(typeof description === "string" ? { description } : {}),
      priority: priority === "required" || priority === "suggested" ? priority : "recommended",
    },
  ];
}
