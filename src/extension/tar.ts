import { Readable, addAbortSignal } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { FlixwrapError } from "../core/errors.ts";
import { encodeName } from "../core/names.ts";
import type { ExtPath } from "../core/paths.ts";
import type { ExtensionTree, TreeNode } from "./tree.ts";

/**
 * The tree as a tar stream (POSIX.1-2001 pax): sorted, without the root folder itself, all times `epoch` (seconds),
 * no user names, so that equal trees give equal bytes. Contents are streamed.
 *
 * Written here and not by tar-stream, whose writer turns values into UTF-8 (binary xattrs and names are damaged),
 * mode 0 into 0644, and owners above 2097151 into that number.
 */
export function openTar(tree: ExtensionTree, epoch: number, signal?: AbortSignal): Readable {
  return Readable.from(gather(tarChunks(tree, epoch, signal)), { objectMode: false, highWaterMark: CHUNK });
}

/** Bytes of a chunk, and of the largest file that is read at once: a stream costs more than most files. */
const CHUNK = 1 << 20;

/** Joins small chunks: an extension has thousands of files, and each write to a tool costs a turn of the loop. */
async function* gather(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let kept: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    kept.push(chunk);
    size += chunk.length;
    if (size < CHUNK / 2) continue;
    yield kept.length === 1 ? chunk : Buffer.concat(kept);
    kept = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(kept);
}

const BLOCK = 512;
const padding = Buffer.alloc(2 * BLOCK);
/** ustar `typeflag` (IEEE Std 1003.1, pax, "ustar Interchange Format"). */
const typeflags = { file: "0", link: "1", symlink: "2", directory: "5" } as const;

async function* tarChunks(tree: ExtensionTree, epoch: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const written = new Map<TreeNode, ExtPath>();
  for (const [path, node] of tree.nodes) {
    if (path === "/") continue;
    signal?.throwIfAborted();
    const first = node.type === "file" ? written.get(node) : undefined;
    if (node.type === "file") written.set(node, first ?? path);
    yield tarHeader(path, node, epoch, first);
    if (first !== undefined) continue;
    if (node.type === "file" && node.content.size > 0) yield* contentChunks(path, node.content, signal);
  }
  yield padding;
}

async function* contentChunks(path: ExtPath, content: ByteSource, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  let left = content.size;
  for await (const chunk of content.size <= CHUNK ? [content.read(0, CHUNK)] : streamOf(content, signal)) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  // The header said how many bytes follow: anything else would shift all that comes after.
  if (left !== 0)
    throw new FlixwrapError("extension-content-size", {
      what: "a file's content is not as long as its entry says",
      where: path,
      wanted: `${content.size} bytes`,
    });
  if (content.size % BLOCK !== 0) yield padding.subarray(0, BLOCK - (content.size % BLOCK));
}

/** A source that stands still must not hold up an interruption. */
function streamOf(content: ByteSource, signal?: AbortSignal): AsyncIterable<Uint8Array> {
  const stream = content.stream();
  return signal === undefined ? stream : addAbortSignal(signal, stream);
}

/** The header blocks of one entry, or of a link to the `first` name of its file: a pax header where ustar's fields do not suffice, then the entry's own. */
function tarHeader(path: ExtPath, node: TreeNode, epoch: number, first: ExtPath | undefined): Buffer {
  const name = encodeName(path.slice(1) + (node.type === "directory" ? "/" : ""));
  const target = encodeName(first?.slice(1) ?? (node.type === "symlink" ? node.target : ""));
  const size = node.type === "file" && first === undefined ? node.content.size : 0;
  const records: Buffer[] = [];
  if (!fits(name)) records.push(paxRecord("path", name));
  if (!fits(target)) records.push(paxRecord("linkpath", target));
  if (size > 0o77777777777) records.push(paxRecord("size", String(size)));
  if (node.uid > 0o7777777) records.push(paxRecord("uid", String(node.uid)));
  if (node.gid > 0o7777777) records.push(paxRecord("gid", String(node.gid)));
  for (const [key, value] of [...node.xattrs].sort(([a], [b]) => (a < b ? -1 : 1)))
    records.push(paxRecord(`SCHILY.xattr.${key}`, value));
  const entry = ustarBlock({
    name,
    target,
    size,
    typeflag: typeflags[first === undefined ? node.type : "link"],
    ...pick(node),
    epoch,
  });
  if (records.length === 0) return entry;
  const body = Buffer.concat(records);
  const extra = ustarBlock({
    name: Buffer.from("pax"),
    target: padding.subarray(0, 0),
    size: body.length,
    typeflag: "x",
    mode: 0o644,
    uid: 0,
    gid: 0,
    epoch,
  });
  return Buffer.concat([extra, body, padding.subarray(0, (BLOCK - (body.length % BLOCK)) % BLOCK), entry]);
}

const pick = ({ mode, uid, gid }: TreeNode) => ({ mode, uid, gid });

/** Short and plain ASCII: what every reader takes from the header itself. */
function fits(name: Uint8Array): boolean {
  return name.length <= 100 && name.every((byte) => byte >= 0x20 && byte < 0x7f);
}

/** `"%d %s=%s\n"`, the length counting itself. */
function paxRecord(key: string, value: Uint8Array | string): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from("\n")]);
  let length = rest.length + 1;
  while (String(length).length + rest.length > length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

interface UstarFields {
  readonly name: Uint8Array;
  readonly target: Uint8Array;
  readonly size: number;
  readonly typeflag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly epoch: number;
}

/** Values too large for a field are cut here; a pax record before it says them in full. */
function ustarBlock(fields: UstarFields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, digits: number) =>
    block.write((value % 8 ** digits).toString(8).padStart(digits, "0"), offset, "latin1");
  block.set(fields.name.subarray(0, 100), 0);
  octal(fields.mode, 100, 7);
  octal(fields.uid, 108, 7);
  octal(fields.gid, 116, 7);
  octal(fields.size, 124, 11);
  octal(fields.epoch, 136, 11);
  block.write("        ", 148, "latin1");
  block.write(fields.typeflag, 156, "latin1");
  block.set(fields.target.subarray(0, 100), 157);
  block.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
