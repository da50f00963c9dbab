import { FlixwrapError } from "../../core/errors.ts";
import type { RootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../rootfs.ts";
import { encodeContent, encodeEntry, endOfArchive, joinPieces } from "./encode.ts";

/**
 * What a socket to a child takes at once (net.core.wmem_default holds 208 KiB): the child reads it while the next chunk
 * is made. With 1 MiB each waits for the other, and a folder takes a sixth more time.
 */
const CHUNK = 1 << 17;

/**
 * Writes a root file system as one tar stream (POSIX.1-2024 pax): parents first, nothing below a link, no
 * whiteouts, so that reading it back needs none of a layer's rules.
 */
export function writeTar(rootfs: Rootfs, nodes: Iterable<RootNode>): Generator<Uint8Array> {
  return joinPieces(tarPieces(rootfs, nodes), CHUNK);
}

function* tarPieces(rootfs: Rootfs, nodes: Iterable<RootNode>): Generator<Uint8Array> {
  const written = new Map<string, RootPath>();
  for (const node of nodes) {
    const { type, mode, uid, gid, mtime, device, size } = node;
    const common = { name: `.${node.path}`, mode, uid, gid, mtime, device };
    const first = type === "directory" ? undefined : written.get(node.identity);
    if (first !== undefined) {
      yield encodeEntry({ ...common, type: "link", target: `.${first}`, size: 0 });
      continue;
    }
    written.set(node.identity, node.path);
    yield encodeEntry({ ...common, type, target: node.target, size, xattrs: node.xattrs });
    if (type !== "file" || size === 0) continue;
    yield* encodeContent(rootfs.open(node), CHUNK, () => wrongSize(rootfs, node));
  }
  yield endOfArchive;
}

function wrongSize({ description }: Rootfs, { path, size }: RootNode): FlixwrapError {
  return new FlixwrapError("oci-file-changed", {
    what: "file changed while it was read",
    where: `${description}${path}`,
    wanted: `${size} bytes`,
  });
}
