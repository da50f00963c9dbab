import type { ByteSource } from "../../core/bytes.ts";
import { encodeName } from "../../core/names.ts";
import { BLOCK } from "./header.ts";

/**
 * One entry of an archive: IEEE Std 1003.1-2024, pax, "ustar Interchange Format" and "pax Extended Header".
 * Written here and not by tar-stream, whose writer turns values into UTF-8 (binary xattrs and names are damaged), mode 0
 * into 0644, and owners above 2097151 into that number.
 */
export interface TarEntry {
  readonly type: keyof typeof typeFlags;
  /** As it stands in the archive. */
  readonly name: string;
  /** A symlink's text, or the archive's name of a hard link's file. */
  readonly target?: string | undefined;
  /** Bytes that follow the header. */
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970 and nanoseconds. */
  readonly mtime: { readonly seconds: number; readonly nanoseconds: number };
  readonly device?: { readonly major: number; readonly minor: number } | undefined;
  readonly xattrs?: Iterable<readonly [string, Uint8Array]>;
}

const typeFlags = {
  file: "0",
  link: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
  extended: "x",
} as const;

/** The blocks after the last entry. */
export const endOfArchive: Uint8Array = Buffer.alloc(2 * BLOCK);

const atStart = { seconds: 0, nanoseconds: 0 };

/** An entry's header, with an extended header before it for whatever does not fit its fields. */
export function encodeEntry(entry: TarEntry): Buffer {
  const name = encodeName(entry.name);
  const target = encodeName(entry.target ?? "");
  const { seconds, nanoseconds } = entry.mtime;
  const records: Buffer[] = [];
  const field = (key: string, value: number, largest: number, isExact = true): number => {
    if (value >= 0 && value <= largest && isExact) return value;
    records.push(encodeRecord(key, isExact ? `${value}` : decimalTime(seconds, nanoseconds)));
    return 0;
  };
  if (!isPlain(name)) records.push(encodeRecord("path", name));
  if (!isPlain(target)) records.push(encodeRecord("linkpath", target));
  const numbers = {
    uid: field("uid", entry.uid, 0o7777777),
    gid: field("gid", entry.gid, 0o7777777),
    size: field("size", entry.size, 0o77777777777),
    mtime: field("mtime", seconds, 0o77777777777, nanoseconds === 0),
  };
  for (const [key, value] of entry.xattrs ?? []) records.push(encodeRecord(`SCHILY.xattr.${key}`, value));
  const header = encodeHeader(name, target, entry, numbers);
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const extended = encodeEntry({
    type: "extended",
    name: "pax",
    size: body.length,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: atStart,
  });
  return Buffer.concat([extended, body, paddingOf(body.length), header]);
}

/** What fills the last block of `size` bytes. */
function paddingOf(size: number): Uint8Array {
  return endOfArchive.subarray(0, -size & (BLOCK - 1));
}

/**
 * A file's bytes, `chunk` at a time, and their padding. It is an error if there are fewer or more than its header says:
 * what follows could not be read.
 */
export function* encodeContent(content: ByteSource, chunk: number, complain: () => Error): Generator<Uint8Array> {
  for (let at = 0; at < content.size; at += chunk) {
    const bytes = content.read(at, chunk);
    if (bytes.length !== Math.min(chunk, content.size - at)) throw complain();
    yield bytes;
  }
  yield paddingOf(content.size);
}

/**
 * The same bytes in pieces of at least `chunk`, but for the last: a root has thousands of small files, and each write to
 * a tool costs a turn of the loop.
 */
export function* joinPieces(pieces: Iterable<Uint8Array>, chunk: number): Generator<Uint8Array> {
  let pending: Uint8Array[] = [];
  let length = 0;
  for (const piece of pieces) {
    pending.push(piece);
    length += piece.length;
    if (length < chunk) continue;
    yield Buffer.concat(pending, length);
    pending = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(pending, length);
}

/** Short and plain ASCII: what every reader takes from the header itself. */
function isPlain(name: Uint8Array): boolean {
  return name.length <= 100 && name.every((byte) => byte >= 0x20 && byte < 0x7f);
}

/** Seconds before 1970 count their fraction backwards in decimal. */
function decimalTime(seconds: number, nanoseconds: number): string {
  const fraction = (whole: number, part: number): string => `${whole}.${`${part}`.padStart(9, "0")}`;
  return seconds >= 0 ? fraction(seconds, nanoseconds) : `-${fraction(-seconds - 1, 1_000_000_000 - nanoseconds)}`;
}

/** `"%d %s=%s\n"`, the length counting itself. */
function encodeRecord(key: string, value: Uint8Array | string): Buffer {
  const rest = Buffer.concat([encodeName(` ${key}=`), Buffer.from(value as string), Buffer.from("\n")]);
  let length = rest.length + 1;
  while (`${length}`.length + rest.length > length) length += 1;
  return Buffer.concat([Buffer.from(`${length}`), rest]);
}

function encodeHeader(
  name: Uint8Array,
  target: Uint8Array,
  { type, mode, device }: TarEntry,
  numbers: { readonly uid: number; readonly gid: number; readonly size: number; readonly mtime: number },
): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    header.write(value.toString(8).padStart(length - 1, "0"), at, "latin1");
  };
  header.set(name.subarray(0, 100), 0);
  octal(mode, 100, 8);
  octal(numbers.uid, 108, 8);
  octal(numbers.gid, 116, 8);
  octal(numbers.size, 124, 12);
  octal(numbers.mtime, 136, 12);
  header.write(typeFlags[type], 156, "latin1");
  header.set(target.subarray(0, 100), 157);
  header.write("ustar\x0000", 257, "latin1");
  if (device !== undefined) {
    octal(device.major, 329, 8);
    octal(device.minor, 337, 8);
  }
  header.write("        ", 148, "latin1");
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += header[at]!;
  header.write(`${sum.toString(8).padStart(6, "0")}\0`, 148, "latin1");
  return header;
}
