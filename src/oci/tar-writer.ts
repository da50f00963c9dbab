import { encodeName } from "../core/names.ts";
import type { RootPath } from "../core/paths.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";
import { BLOCK } from "./tar-header.ts";

/**
 * What a socket to a child takes at once (net.core.wmem_default holds 208 KiB): the child reads it while the next chunk
 * is made. With 1 MiB each waits for the other, and a folder takes a sixth more time.
 */
const CHUNK = 1 << 16;

/**
 * Writes a root file system as one tar stream (POSIX.1-2024 pax): parents first, nothing below a link, no
 * whiteouts, so that reading it back needs none of a layer's rules. Small pieces are joined into chunks.
 */
export function* writeTar(rootfs: Rootfs, nodes: Iterable<RootNode>): Generator<Uint8Array> {
  let pending: Uint8Array[] = [];
  let length = 0;
  const written = new Map<string, RootPath>();
  function* put(bytes: Uint8Array): Generator<Uint8Array> {
    pending.push(bytes);
    length += bytes.length;
    if (length < CHUNK) return;
    yield Buffer.concat(pending);
    pending = [];
    length = 0;
  }
  for (const node of nodes) {
    const first = node.type === "directory" ? undefined : written.get(node.identity);
    if (first !== undefined) {
      yield* put(encodeEntry({ ...node, size: 0, xattrs: new Map() }, "1", first));
      continue;
    }
    written.set(node.identity, node.path);
    yield* put(encodeEntry(node, typeFlags[node.type], node.target));
    if (node.type !== "file" || node.size === 0) continue;
    const content = rootfs.open(node);
    for (let at = 0; at < node.size; at += CHUNK) yield* put(content.read(at, CHUNK));
    yield* put(Buffer.alloc(-node.size & (BLOCK - 1)));
  }
  yield Buffer.concat([...pending, Buffer.alloc(2 * BLOCK)]);
}

const typeFlags: Readonly<Record<RootNode["type"], string>> = {
  file: "0",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
};

/** A header, with an extended header before it for whatever does not fit its fields. */
function encodeEntry(node: RootNode, type: string, target: string | undefined): Buffer {
  const name = encodeName(`.${node.path}`);
  // A hard link's goal is a path of the archive, a symlink's is text.
  const link = encodeName(type === "1" ? `.${target}` : (target ?? ""));
  const { seconds, nanoseconds } = node.mtime;
  const records: (readonly [string, Uint8Array])[] = [];
  const field = (key: string, value: number, largest: number, text = `${value}`): number => {
    if (value >= 0 && value <= largest && text === `${value}`) return value;
    records.push([key, Buffer.from(text)]);
    return 0;
  };
  if (name.length > 100) records.push(["path", name]);
  if (link.length > 100) records.push(["linkpath", link]);
  const numbers = {
    uid: field("uid", node.uid, 0o7777777),
    gid: field("gid", node.gid, 0o7777777),
    size: field("size", node.size, 0o77777777777),
    mtime: field("mtime", seconds, 0o77777777777, decimalTime(seconds, nanoseconds)),
  };
  for (const [key, value] of node.xattrs) records.push([`SCHILY.xattr.${key}`, value]);
  const header = encodeHeader(name, type, link, node.mode, numbers, node.device);
  if (records.length === 0) return header;
  const body = Buffer.concat(records.map(([key, value]) => encodeRecord(key, value)));
  const padding = Buffer.alloc(-body.length & (BLOCK - 1));
  const meta = { uid: 0, gid: 0, size: body.length, mtime: 0 };
  return Buffer.concat([encodeHeader(Buffer.from("pax"), "x", Buffer.alloc(0), 0o644, meta), body, padding, header]);
}

/** Seconds before 1970 count their fraction backwards in decimal. */
function decimalTime(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return `${seconds}`;
  const fraction = (whole: number, part: number): string => `${whole}.${`${part}`.padStart(9, "0")}`;
  return seconds >= 0 ? fraction(seconds, nanoseconds) : `-${fraction(-seconds - 1, 1_000_000_000 - nanoseconds)}`;
}

function encodeRecord(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(" "), encodeName(key), Buffer.from("="), value, Buffer.from("\n")]);
  let length = rest.length + 1;
  while (`${length}`.length + rest.length > length) length += 1;
  return Buffer.concat([Buffer.from(`${length}`), rest]);
}

function encodeHeader(
  name: Uint8Array,
  type: string,
  link: Uint8Array,
  mode: number,
  numbers: { readonly uid: number; readonly gid: number; readonly size: number; readonly mtime: number },
  device?: RootNode["device"],
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
  header.write(type, 156, "latin1");
  header.set(link.subarray(0, 100), 157);
  header.write("ustar\x0000", 257, "latin1");
  octal(device?.major ?? 0, 329, 8);
  octal(device?.minor ?? 0, 337, 8);
  header.fill(0x20, 148, 156);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return header;
}
