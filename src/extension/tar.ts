import { Readable } from "node:stream";
import { FlixwrapError } from "../core/errors.ts";
import type { ExtPath } from "../core/paths.ts";
import { encodeContent, encodeEntry, endOfArchive, joinPieces } from "../oci/tar/encode.ts";
import type { ExtensionTree, TreeNode } from "./tree.ts";

/** Compressing is slower than reading: with large chunks the packer works longer before it asks for more. */
const CHUNK = 1 << 20;

/**
 * The tree as a tar stream (POSIX.1-2024 pax): sorted, without the root folder itself, all times `epoch` (seconds),
 * no user names, so that equal trees give equal bytes.
 */
export function openTar(tree: ExtensionTree, epoch: number, signal?: AbortSignal): Readable {
  return Readable.from(joinPieces(tarPieces(tree, epoch, signal), CHUNK), { objectMode: false });
}

function* tarPieces(tree: ExtensionTree, epoch: number, signal?: AbortSignal): Generator<Uint8Array> {
  const written = new Map<TreeNode, string>();
  const mtime = { seconds: epoch, nanoseconds: 0 };
  for (const [path, node] of tree.nodes) {
    if (path === "/") continue;
    signal?.throwIfAborted();
    const { type, mode, uid, gid } = node;
    const common = { name: path.slice(1) + (type === "directory" ? "/" : ""), mode, uid, gid, mtime };
    const first = written.get(node);
    if (first !== undefined) {
      yield encodeEntry({ ...common, type: "link", target: first, size: 0 });
      continue;
    }
    if (type === "file") written.set(node, common.name);
    const size = type === "file" ? node.content.size : 0;
    const target = type === "symlink" ? node.target : undefined;
    const xattrs = [...node.xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
    yield encodeEntry({ ...common, type, target, size, xattrs });
    if (type === "file") yield* encodeContent(node.content, CHUNK, () => wrongSize(path, size));
  }
  yield endOfArchive;
}

function wrongSize(path: ExtPath, size: number): FlixwrapError {
  return new FlixwrapError("extension-content-size", {
    what: "a file's content is not as long as its entry says",
    where: path,
    wanted: `${size} bytes`,
  });
}
