import { windowedSource, type ByteSource } from "../core/bytes.ts";
import { defined } from "../core/defined.ts";
import { decodeName } from "../core/names.ts";
import { FlixwrapError } from "../core/errors.ts";
import { locate, openLocator, readRange, readString, type FileRange, type Mapped, type Readable } from "./address.ts";
import { DF_1, DT, EI, PN_XNUM, PT } from "./constants.ts";
import type { Format } from "./layout.ts";
import { hex, malformed } from "./problems.ts";
import { Dyn, Ehdr, Phdr, Shdr } from "./structs.ts";

/**
 * An ELF file as its loader sees it: by program headers and PT_DYNAMIC, never by section headers. Strings
 * keep bytes that are not UTF-8 (`core/names`).
 */
export interface ElfFile extends Format, Mapped {
  readonly source: ByteSource;
  /** For messages. */
  readonly name: string;
  readonly bits: 32 | 64;
  readonly endian: "little" | "big";
  readonly header: Ehdr;
  /** The program headers, in table order; their number counts when e_phnum is PN_XNUM. */
  readonly segments: readonly Phdr[];
  /** The entries before the first DT_NULL, in table order. */
  readonly dynamic: readonly DynamicEntry[];
  /** The whole of PT_DYNAMIC in the file: entries, terminator and spare slots. Absent when `isDynamic` is false. */
  readonly dynamicRange?: FileRange;
  /** e_machine. */
  readonly machine: number;
  /** e_type: 2 ET_EXEC, 3 ET_DYN. */
  readonly type: number;
  /** PT_INTERP, without its NUL. */
  readonly interpreter?: string;
  /** False for static files and for a PT_DYNAMIC without bytes (debug files). */
  readonly isDynamic: boolean;
  readonly needed: readonly string[];
  readonly soname?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  /** DT_AUXILIARY and DT_FILTER, in table order. */
  readonly auxiliary: readonly string[];
  readonly filters: readonly string[];
  /** DT_FLAGS and DT_FLAGS_1; 0 when absent. */
  readonly flags: number;
  readonly flags1: number;
  /** DT_FLAGS_1 has DF_1_NODEFLIB. */
  readonly noDefaultLib: boolean;
}

/** One entry of the dynamic table. */
export interface DynamicEntry {
  /** d_tag. One beyond 2^53 is rounded: nobody gives such a tag a meaning. */
  readonly tag: number;
  /** d_val or d_ptr. */
  readonly value: bigint;
}

/** A file whose dynamic table has been read. */
type WithDynamic = Mapped & Pick<ElfFile, "dynamic">;

/** The kernel refuses a longer PT_INTERP (fs/binfmt_elf.c: PATH_MAX), and open(2) a longer name. */
const pathMax = 4096;
/** Run paths of build trees reach tens of kilobytes, those of tests tens of megabytes. */
const runPathMax = 64 << 20;
/** Real files have below 1,000; with `pathMax` this bounds what a hostile table makes us read. */
const dynamicEntriesMax = 16_384;

/** Whether the source begins as ELF files do. Only the first bytes are read, and those once for each source. */
export function isElf(source: ByteSource): boolean {
  let answer = judged.get(source);
  if (answer === undefined) {
    const magic = source.read(0, 4);
    answer = magic.length === 4 && magic[0] === 0x7f && magic[1] === 0x45 && magic[2] === 0x4c && magic[3] === 0x46;
    judged.set(source, answer);
  }
  return answer;
}

const judged = new WeakMap<ByteSource, boolean>();

/**
 * Reads header, program headers, dynamic table and the strings it names; nothing else of the file is touched. A source
 * is read once, whoever asks.
 * @throws FlixwrapError `elf-not-elf` for anything else, `elf-malformed` for a file its loader could not use.
 */
export function readElf(source: ByteSource, name: string): ElfFile {
  let file = known.get(source);
  if (file === undefined) {
    file = { ...parseElf(windowedSource(source), name), source };
    known.set(source, file);
    judged.set(source, true);
  }
  return file.name === name ? file : { ...file, name };
}

const known = new WeakMap<ByteSource, ElfFile>();

function parseElf(source: ByteSource, name: string): ElfFile {
  const readable: Readable = { source, name };
  const format = readFormat(readable);
  const header = Ehdr.read(format, readRange(readable, 0, Ehdr.size(format), "ELF header"));
  const segments = readSegments(readable, format, header);
  const mapped: Mapped = { source, name, segments };
  const interpreter = readInterpreter(mapped);
  const dynamicRange = findDynamic(mapped);
  const dynamic = dynamicRange === undefined ? [] : readDynamic(mapped, format, dynamicRange);
  const file: WithDynamic = { ...mapped, dynamic };
  const stringAt = locateDynamicStrings(file);
  const texts = (tag: number) => dynamic.filter((entry) => entry.tag === tag).map((entry) => stringAt(entry.value));
  const text = (tag: number, limit?: number) => {
    const offset = lastValue(file, tag);
    return offset === undefined ? undefined : stringAt(offset, limit);
  };
  const bits = (tag: number) => Number((lastValue(file, tag) ?? 0n) & 0xffffffffn);
  const flags1 = bits(DT.FLAGS_1);
  return {
    ...file,
    ...format,
    header,
    ...defined({ dynamicRange, interpreter }),
    machine: header.machine,
    type: header.type,
    isDynamic: dynamicRange !== undefined,
    needed: texts(DT.NEEDED),
    ...defined({ soname: text(DT.SONAME), rpath: text(DT.RPATH, runPathMax), runpath: text(DT.RUNPATH, runPathMax) }),
    auxiliary: texts(DT.AUXILIARY),
    filters: texts(DT.FILTER),
    flags: bits(DT.FLAGS),
    flags1,
    noDefaultLib: (flags1 & DF_1.NODEFLIB) !== 0,
  };
}

function readFormat(file: Readable): Format {
  if (!isElf(file.source)) {
    throw new FlixwrapError("elf-not-elf", { what: "not an ELF file", where: file.name });
  }
  const ident = readRange(file, 0, 16, "ELF header");
  const bits = ({ 1: 32, 2: 64 } as const)[ident[EI.CLASS]!];
  if (bits === undefined) throw malformed(file, EI.CLASS, "unknown ELF class", `${ident[EI.CLASS]}`, "1 or 2");
  const endian = ({ 1: "little", 2: "big" } as const)[ident[EI.DATA]!];
  if (endian === undefined) throw malformed(file, EI.DATA, "unknown ELF byte order", `${ident[EI.DATA]}`, "1 or 2");
  return { bits, endian };
}

function readSegments(file: Readable, format: Format, header: Ehdr): Phdr[] {
  if (header.phoff === 0n || header.phnum === 0) return [];
  const size = Phdr.size(format);
  if (header.phentsize !== size) {
    const at = Ehdr.offsetOf(format, "phentsize");
    throw malformed(file, at, "program headers have wrong size", `${header.phentsize}`, `${size}`);
  }
  const count = header.phnum === PN_XNUM ? readSection0(file, format, header).info : header.phnum;
  return Phdr.readAll(format, readRange(file, header.phoff, count * size, "program header table"));
}

/** The section header that holds counts too large for the ELF header (gABI chapter 4, "Extended numbering"). */
export function readSection0(file: Readable, format: Format, header: Ehdr): Shdr {
  return Shdr.read(format, readRange(file, header.shoff, Shdr.size(format), "section header 0"));
}

function readInterpreter(file: Mapped): string | undefined {
  const segment = file.segments.find((one) => one.type === PT.INTERP);
  // Debug files keep the header without its bytes.
  if (segment === undefined || segment.filesz === 0n) return undefined;
  if (segment.filesz > BigInt(pathMax)) {
    throw malformed(file, segment.offset, "interpreter is too long", `${segment.filesz} bytes`, `at most ${pathMax}`);
  }
  const bytes = readRange(file, segment.offset, segment.filesz, "interpreter");
  const end = bytes.indexOf(0);
  return decodeName(end < 0 ? bytes : bytes.subarray(0, end));
}

function findDynamic(file: Mapped): FileRange | undefined {
  const segment = file.segments.find((one) => one.type === PT.DYNAMIC);
  if (segment === undefined || segment.filesz === 0n) return undefined;
  if (segment.offset + segment.filesz > BigInt(file.source.size)) {
    throw malformed(file, segment.offset, "dynamic section out of bounds", `${segment.filesz} bytes`);
  }
  return { offset: Number(segment.offset), length: Number(segment.filesz) };
}

function readDynamic(file: Readable, format: Format, range: FileRange): DynamicEntry[] {
  const length = Math.min(range.length, dynamicEntriesMax * Dyn.size(format));
  const entries = Dyn.readAll(format, readRange(file, range.offset, length, "dynamic section"));
  const end = entries.findIndex((entry) => entry.tag === 0n);
  if (end < 0 && length < range.length) {
    throw malformed(file, range.offset, "dynamic section is too long", `over ${dynamicEntriesMax} entries`);
  }
  return (end < 0 ? entries : entries.slice(0, end)).map(({ tag, value }) => ({ tag: Number(tag), value }));
}

/** The string at `offset` of the dynamic string table, of at most `limit` bytes. */
export function readDynamicString(file: WithDynamic, offset: number | bigint, limit = pathMax): string {
  return locateDynamicStrings(file)(offset, limit);
}

/** {@link readDynamicString} for some strings: where the table lies is found once. */
export function locateDynamicStrings(file: WithDynamic): (offset: number | bigint, limit?: number) => string {
  const table = lastValue(file, DT.STRTAB);
  // As the loader: from DT_STRTAB on, whatever DT_STRSZ says, as far as the segment is filled.
  const locateString = table === undefined ? () => undefined : openLocator(file, table);
  return (offset, limit = pathMax) => {
    const range = locateString(offset);
    if (range === undefined) {
      throw malformed(file, 0, "dynamic string table index out of bounds", hex(offset));
    }
    return readString(file, range.offset, range.length, limit, "dynamic string");
  };
}

/** {@link readDynamicString} for many strings: the table is read once. */
export function openDynamicStrings(file: WithDynamic): (offset: number) => string {
  const address = lastValue(file, DT.STRTAB);
  const range = address === undefined ? undefined : locate(file, address);
  const size = Number(lastValue(file, DT.STRSZ) ?? 0n);
  if (range === undefined || size > range.length) return (offset) => readDynamicString(file, offset, runPathMax);
  const bytes = readRange(file, range.offset, size, "dynamic string table");
  return (offset) => {
    const end = bytes.indexOf(0, offset);
    return end < 0 ? readDynamicString(file, offset, runPathMax) : decodeName(bytes.subarray(offset, end));
  };
}

/** The value of a tag. Of one that stands twice glibc and musl keep the last (elf/get-dynamic-info.h, ldso/dynlink.c). */
export function lastValue(file: Pick<ElfFile, "dynamic">, tag: number): bigint | undefined {
  return file.dynamic.findLast((entry) => entry.tag === tag)?.value;
}
