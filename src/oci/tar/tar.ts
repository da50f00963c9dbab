import type { ByteSource } from "../../core/bytes.ts";
import { defined } from "../../core/defined.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { decodeName } from "../../core/names.ts";
import { sliceSource } from "../file-source.ts";
import { readPaxRecords, type PaxRecords } from "./pax.ts";
import type { NodeType, RootNode } from "../rootfs.ts";
import { BLOCK, readNumber, verifyChecksum, type Complain } from "./header.ts";
import { readOldSparseMap, readPaxSparseMap, verifyParts, type SparseMap, type SparsePart } from "./sparse.ts";

/**
 * Reads tar archives by seeking: only headers are read, contents are byte ranges of the archive.
 * Formats: POSIX.1-2024 pax and ustar, GNU tar's (tar(5) of libarchive), v7. The input is hostile: every
 * size is bounded before use, and what is not understood is an error, never skipped.
 */

export interface TarEntry {
  /** As written, e.g. `./usr/bin/`. */
  readonly name: string;
  readonly type: NodeType | "hardlink";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: RootNode["mtime"];
  /** Of links, as written. */
  readonly target?: string;
  readonly device?: NonNullable<RootNode["device"]>;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Of a regular file. */
  readonly content?: StoredContent;
  /** Of the header in the archive, for messages. */
  readonly offset: number;
}

/** Where a file's bytes stand in the archive. */
export interface StoredContent {
  /** Of the first stored byte. */
  readonly offset: number;
  /** Of the file, in bytes. */
  readonly size: number;
  /** Of a sparse file: where the stored bytes belong, in their order; the rest is zeros. */
  readonly parts?: readonly SparsePart[];
}

/** For pax and GNU long-name headers; tar-stream allows 4 MiB, Go 1 MiB. */
const MAX_META = 1 << 20;
/** PATH_MAX and NAME_MAX of Linux: nothing longer can exist on any host. */
export const MAX_PATH = 4095;
/** Bytes of one part of a path. */
export const MAX_NAME = 255;
/** One read fetches a header and a pax header before it; larger ones cost more than they save. */
const WINDOW = 2 * BLOCK;

/** What extended headers say of the entry behind them. */
interface Extended {
  pax?: PaxRecords;
  /** GNU's headers `L` and `K`. */
  longName?: Uint8Array;
  longTarget?: Uint8Array;
}

const EXTENDED = "xgLK";

/**
 * Every entry in the order of the archive.
 * @throws FlixwrapError `oci-bad-tar`, with the byte offset.
 */
export function* readTar(archive: ByteSource, where: string): Generator<TarEntry> {
  const readAt = windowed(archive);
  let extended: Extended = {};

  for (let at = 0; at < archive.size;) {
    const offset = at;
    const complain: Complain = (what, got) =>
      new FlixwrapError("oci-bad-tar", {
        what: `damaged or unsafe tar archive, ${what}`,
        where: `${where} at byte ${offset}`,
        ...defined({ got }),
      });
    if (archive.size - at < BLOCK) throw complain("truncated header");
    const header = readAt(at, BLOCK);
    if (isZero(header)) {
      // Two zero blocks end the archive; what follows is padding. The end may also be missing altogether.
      const next = readAt(at + BLOCK, BLOCK);
      if (isZero(next)) break;
      throw complain("a lone zero block before other data");
    }
    verifyChecksum(header, complain);
    const type = String.fromCharCode(header[156] || 0x30);
    at += BLOCK;

    if (EXTENDED.includes(type)) {
      const size = readNumber(header, 124, 12, complain);
      if (size < 0 || size > MAX_META) throw complain("an extended header that is too large", `${size} bytes`);
      if (size > archive.size - at) throw complain("truncated extended header");
      takeExtended(extended, type, readAt(at, size), complain);
      at += padded(size);
      continue;
    }

    const records = extended.pax ?? noRecords;
    const { name, target } = readNames(header, records, extended, complain);
    const nodeType = typeOf(type, name);
    if (nodeType === undefined) throw complain("an entry of unknown type", JSON.stringify(type));
    const common = { name, ...readAttributes(header, records, complain), xattrs: records.xattrs, offset };
    extended = {};

    if (nodeType !== "file") {
      // Types 1 to 6 have no content; a size there is ignored, as Go's archive/tar does.
      yield {
        ...common,
        type: nodeType,
        ...((nodeType === "symlink" || nodeType === "hardlink") && { target: decodeName(target) }),
        ...((nodeType === "character-device" || nodeType === "block-device") && {
          device: readDevice(header, complain),
        }),
      };
      continue;
    }

    const stored = paxSize(records, complain) ?? readNumber(header, 124, 12, complain);
    if (stored < 0) throw complain("a negative size");
    const map = type === "S" ? readOldSparseMap(header, at, archive, complain) : undefined;
    at += map?.mapLength ?? 0;
    if (stored > archive.size - at)
      throw complain("truncated content", `${archive.size - at} of ${stored} bytes of ${name}`);
    const content = placeContent(
      at,
      stored,
      map ?? readPaxSparseMap(records, sliceSource(archive, at, stored), complain),
      complain,
    );
    yield { ...common, type: "file", content };
    at += padded(stored);
  }
  if (Object.keys(extended).length > 0) {
    throw new FlixwrapError("oci-bad-tar", { what: "damaged tar archive, it ends after an extended header", where });
  }
}

function takeExtended(extended: Extended, type: string, body: Uint8Array, complain: Complain): void {
  if (type === "g") verifyGlobal(readPaxRecords(body, complain), complain);
  else if (type === "x") extended.pax = readPaxRecords(body, complain);
  else if (type === "L") extended.longName = untilNul(body);
  else extended.longTarget = untilNul(body);
}

/** A pax record wins over GNU's header, and that over the entry's own field. */
function readNames(
  header: Uint8Array,
  { values }: PaxRecords,
  { longName, longTarget }: Extended,
  complain: Complain,
): { name: string; target: Uint8Array } {
  const name = values.get("GNU.sparse.name") ?? values.get("path") ?? longName ?? shortName(header);
  const target = values.get("linkpath") ?? longTarget ?? untilNul(header.subarray(157, 257));
  if (name.length > MAX_PATH) throw complain("a path that is too long", `${name.length} bytes`);
  if (target.length > MAX_PATH) throw complain("a link that is too long", `${target.length} bytes`);
  if (name.includes(0) || target.includes(0)) throw complain("a NUL byte in a name");
  return { name: decodeName(name), target };
}

function readAttributes(
  header: Uint8Array,
  records: PaxRecords,
  complain: Complain,
): Pick<TarEntry, "mode" | "uid" | "gid" | "mtime"> {
  return {
    mode: readNumber(header, 100, 8, complain) & 0o7777,
    uid: paxId(records, "uid", complain) ?? readId(header, 108, complain),
    gid: paxId(records, "gid", complain) ?? readId(header, 116, complain),
    mtime: paxTime(records, complain) ?? { seconds: readNumber(header, 136, 12, complain), nanoseconds: 0 },
  };
}

function placeContent(at: number, stored: number, map: SparseMap | undefined, complain: Complain): StoredContent {
  if (map === undefined) return { offset: at, size: stored };
  const inside = map.isInside ? map.mapLength : 0;
  return { offset: at + inside, size: map.size, parts: verifyParts(map, stored - inside, complain) };
}

const noRecords: PaxRecords = { values: new Map(), xattrs: new Map() };

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

/** Small reads from a buffer that is refilled at the place asked for. Past the end: shorter. */
function windowed(archive: ByteSource): (offset: number, length: number) => Uint8Array {
  let start = 0;
  let buffer: Uint8Array = new Uint8Array();
  return (offset, length) => {
    if (offset < start || offset + length > start + buffer.length) {
      start = offset;
      buffer = archive.read(offset, Math.max(length, WINDOW));
    }
    return buffer.subarray(offset - start, offset - start + length);
  };
}

const isZero = (block: Uint8Array): boolean => block.every((byte) => byte === 0);

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}

/** ustar has a prefix field; GNU keeps times there and v7 nothing. */
function shortName(header: Uint8Array): Uint8Array {
  const name = untilNul(header.subarray(0, 100));
  const isUstar = Buffer.from(header.subarray(257, 263)).toString("latin1") === "ustar\0";
  const prefix = isUstar ? untilNul(header.subarray(345, 500)) : new Uint8Array();
  return prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from("/"), name]);
}

function typeOf(type: string, name: string): TarEntry["type"] | undefined {
  switch (type) {
    case "0":
      // v7 had no type for folders.
      return name.endsWith("/") ? "directory" : "file";
    case "7":
    case "S":
      return "file";
    case "1":
      return "hardlink";
    case "2":
      return "symlink";
    case "3":
      return "character-device";
    case "4":
      return "block-device";
    case "5":
      return "directory";
    case "6":
      return "fifo";
    default:
      return undefined;
  }
}

const MAX_ID = 0xffffffff;

function readId(header: Uint8Array, start: number, complain: Complain): number {
  const id = readNumber(header, start, 8, complain);
  if (id < 0 || id > MAX_ID) throw complain("an owner out of range", `${id}`);
  return id;
}

/** Linux' dev_t has 12 and 20 bits; a larger number would not fit its field when it is written again. */
const [MAX_MAJOR, MAX_MINOR] = [0xfff, 0xfffff];

function readDevice(header: Uint8Array, complain: Complain): NonNullable<TarEntry["device"]> {
  const readPart = (start: number, most: number): number => {
    const number = readNumber(header, start, 8, complain);
    if (number < 0 || number > most) throw complain("a device number out of range", `${number}`);
    return number;
  };
  return { major: readPart(329, MAX_MAJOR), minor: readPart(337, MAX_MINOR) };
}

function paxNumber(records: PaxRecords, key: string, pattern: RegExp, complain: Complain): string | undefined {
  const bytes = records.values.get(key);
  if (bytes === undefined) return undefined;
  const text = Buffer.from(bytes).toString("latin1");
  if (!pattern.test(text)) throw complain(`a pax record ${key} that is no number`);
  return text;
}

function paxId(records: PaxRecords, key: "uid" | "gid", complain: Complain): number | undefined {
  const text = paxNumber(records, key, /^\d{1,10}$/, complain);
  if (text !== undefined && Number(text) > MAX_ID) throw complain("an owner out of range", text);
  return text === undefined ? undefined : Number(text);
}

function paxSize(records: PaxRecords, complain: Complain): number | undefined {
  const text = paxNumber(records, "size", /^\d{1,15}$/, complain);
  return text === undefined ? undefined : Number(text);
}

/** Decimal seconds with any fraction, also before 1970; the fraction counts upwards. */
function paxTime(records: PaxRecords, complain: Complain): RootNode["mtime"] | undefined {
  const text = paxNumber(records, "mtime", /^-?\d{1,12}(\.\d*)?$/, complain);
  if (text === undefined) return undefined;
  const [whole, fraction = ""] = text.split(".");
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  const seconds = Math.abs(Number(whole));
  if (!text.startsWith("-")) return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: seconds === 0 ? 0 : -seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** Records for all later entries: those of git archive and of times do no harm, any other could forge a path. */
const harmlessGlobals = new Set(["comment", "mtime", "atime", "ctime", "charset", "hdrcharset", "uname", "gname"]);

function verifyGlobal(records: PaxRecords, complain: Complain): void {
  for (const key of [...records.values.keys(), ...records.xattrs.keys()]) {
    if (!harmlessGlobals.has(key)) throw complain("a global pax record that changes every entry", key);
  }
}
