import type { NodeType } from "./rootfs.ts";
import type { StoredContent, TarEntry } from "./tar/tar.ts";

/**
 * A layer's entries as lines of JSON, kept beside it in the cache: one read instead of one for each header. The layer is
 * the truth; this can be made again from it at any time. Raise the version with every change of form.
 */
export const INDEX_VERSION = 2;

const types: readonly (NodeType | "hardlink")[] = [
  "file",
  "directory",
  "symlink",
  "hardlink",
  "character-device",
  "block-device",
  "fifo",
];

type Row = readonly [
  name: string,
  type: number,
  mode: number,
  uid: number,
  gid: number,
  seconds: number,
  nanoseconds: number,
  offset: number,
  detail: string | readonly [number, number] | StoredContent | 0,
  xattrs?: Readonly<Record<string, string>>,
];

/** Entries in one line: all in one would double what a huge layer takes, one in each is slower to read. */
const LINE = 4096;

/** A file of lines, each a JSON array of rows; equal entries give equal bytes. */
export function encodeIndex(entries: readonly TarEntry[]): Buffer {
  const lines: Buffer[] = [];
  for (let at = 0; at < entries.length; at += LINE) {
    lines.push(Buffer.from(`${JSON.stringify(entries.slice(at, at + LINE).map(toRow))}\n`));
  }
  return Buffer.concat(lines);
}

function toRow(entry: TarEntry): Row {
  const { name, type, mode, uid, gid, mtime, offset, content, target, device, xattrs } = entry;
  const place =
    content?.parts === undefined && content !== undefined ? ([content.offset, content.size] as const) : content;
  const detail = place ?? target ?? (device === undefined ? 0 : ([device.major, device.minor] as const));
  const row = [name, types.indexOf(type), mode, uid, gid, mtime.seconds, mtime.nanoseconds, offset, detail] as const;
  if (xattrs.size === 0) return row;
  const base64 = Object.fromEntries([...xattrs].map(([key, value]) => [key, Buffer.from(value).toString("base64")]));
  return [...row, base64];
}

/** Undefined when the bytes are no index of this version's form. */
export function decodeIndex(index: Buffer): TarEntry[] | undefined {
  const entries: TarEntry[] = [];
  try {
    for (let at = 0; at < index.length;) {
      const end = index.indexOf(0x0a, at);
      for (const row of JSON.parse(index.toString("utf8", at, end)) as Row[]) entries.push(fromRow(row));
      at = end + 1;
    }
    return entries;
  } catch {
    return undefined;
  }
}

const noXattrs: TarEntry["xattrs"] = new Map();

/** Sixteen thousand times for a small Debian: one object each. */
function fromRow([name, typeNumber, mode, uid, gid, seconds, nanoseconds, offset, detail, encoded]: Row): TarEntry {
  const type = types[typeNumber]!;
  const mtime = { seconds, nanoseconds };
  const xattrs = fromBase64(encoded);
  if (detail === 0) return { name, type, mode, uid, gid, mtime, offset, xattrs };
  if (typeof detail === "string") return { name, type, mode, uid, gid, mtime, offset, xattrs, target: detail };
  if (!Array.isArray(detail)) {
    return { name, type, mode, uid, gid, mtime, offset, xattrs, content: detail as StoredContent };
  }
  const [first, second] = detail as [number, number];
  return type === "file"
    ? { name, type, mode, uid, gid, mtime, offset, xattrs, content: { offset: first, size: second } }
    : { name, type, mode, uid, gid, mtime, offset, xattrs, device: { major: first, minor: second } };
}

const fromBase64 = (xattrs: Row[9]): TarEntry["xattrs"] =>
  xattrs === undefined
    ? noXattrs
    : new Map(Object.entries(xattrs).map(([key, value]) => [key, Buffer.from(value, "base64")]));
