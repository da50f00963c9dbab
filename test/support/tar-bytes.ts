/**
 * Tar archives as raw bytes, header field by header field, so that tests can write what no tool would.
 * Independent of the program's own tar code. Format: POSIX.1-2024, pax; GNU tar's manual, "Standard format".
 */
export interface RawEntry {
  readonly name: string | Buffer;
  /** Type flag; "0" when there is content, else "5" for a name with a slash at its end, else "0". */
  readonly type?: string;
  readonly content?: string | Buffer;
  readonly link?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** What the header claims; the content's length when undefined. Bytes are put into the field as they are. */
  readonly size?: number | Buffer;
  /** Raw bytes of the uid field. */
  readonly uidField?: Buffer;
  readonly device?: readonly [major: number, minor: number];
  readonly magic?: "ustar\x0000" | "ustar  \0" | "";
  readonly prefix?: string;
  /** Bytes at an offset of the header, put last, before the checksum. */
  readonly patch?: readonly (readonly [offset: number, bytes: Buffer])[];
  readonly checksum?: number;
}

const block = 512;

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & (block - 1))]);

const octal = (value: number, length: number): Buffer =>
  Buffer.from(`${value.toString(8).padStart(length - 1, "0")}\0`);

/** One entry: header and padded content. */
export function entry(raw: RawEntry): Buffer {
  const content = Buffer.from(raw.content ?? "");
  const name = Buffer.from(raw.name as string);
  const type = raw.type ?? (raw.content === undefined && name.at(-1) === 0x2f ? "5" : "0");
  const header = Buffer.alloc(block);
  name.copy(header, 0, 0, 100);
  octal(raw.mode ?? (type === "5" ? 0o755 : type === "2" ? 0o777 : 0o644), 8).copy(header, 100);
  (raw.uidField ?? octal(raw.uid ?? 0, 8)).copy(header, 108);
  octal(raw.gid ?? 0, 8).copy(header, 116);
  (Buffer.isBuffer(raw.size) ? raw.size : octal(raw.size ?? content.length, 12)).copy(header, 124);
  octal(raw.mtime ?? 0, 12).copy(header, 136);
  header.write(type, 156, "latin1");
  Buffer.from((raw.link ?? "") as string).copy(header, 157, 0, 100);
  const magic = raw.magic ?? "ustar\x0000";
  header.write(magic, 257, "latin1");
  if (magic !== "") {
    octal(raw.device?.[0] ?? 0, 8).copy(header, 329);
    octal(raw.device?.[1] ?? 0, 8).copy(header, 337);
    header.write(raw.prefix ?? "", 345, "latin1");
  }
  for (const [offset, bytes] of raw.patch ?? []) bytes.copy(header, offset);
  header.fill(0x20, 148, 156);
  octal(raw.checksum ?? header.reduce((sum, byte) => sum + byte, 0), 7).copy(header, 148);
  return Buffer.concat([header, padded(content)]);
}

export const file = (name: string | Buffer, content: string | Buffer = "", more: Partial<RawEntry> = {}): Buffer =>
  entry({ name, content, ...more });
export const folder = (name: string, more: Partial<RawEntry> = {}): Buffer => entry({ name, type: "5", ...more });
export const symlink = (name: string, link: string | Buffer, more: Partial<RawEntry> = {}): Buffer =>
  entry({ name, type: "2", link, ...more });
export const hardlink = (name: string, link: string, more: Partial<RawEntry> = {}): Buffer =>
  entry({ name, type: "1", link, ...more });
/** A whiteout or other marker: an empty file. */
export const marker = (name: string): Buffer => file(name);

/** A pax extended header for the next entry, or with type `g` for all. */
export function pax(records: Readonly<Record<string, string | Buffer>>, type: "x" | "g" = "x"): Buffer {
  const lines = Object.entries(records).map(([key, value]) => paxRecord(key, Buffer.from(value as string)));
  return entry({ name: "PaxHeader", type, content: Buffer.concat(lines) });
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from("\n")]);
  let digits = 1;
  while (`${rest.length + digits}`.length !== digits) digits += 1;
  return Buffer.concat([Buffer.from(`${rest.length + digits}`), rest]);
}

/** GNU's header for a long name (L) or link (K). */
export const gnuLong = (type: "L" | "K", text: string): Buffer =>
  entry({ name: "././@LongLink", type, content: `${text}\0`, magic: "ustar  \0" });

export const endMarker = Buffer.alloc(2 * block);

/** A whole archive. */
export const tar = (...entries: readonly Buffer[]): Buffer => Buffer.concat([...entries, endMarker]);

/** A number as GNU's base-256 field. */
export function base256(value: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let rest = BigInt.asUintN(8 * length, value);
  for (let at = length - 1; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  if (value >= 0n) bytes[0]! |= 0x80;
  return bytes;
}
