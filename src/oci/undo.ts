import { memorySource, type ByteSource } from "../core/bytes.ts";
import { baseName, parentOf, type RootPath } from "../core/paths.ts";
import { childPath } from "./backed-rootfs.ts";
import { stackFiles } from "./layers.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";
import { readTar } from "./tar/tar.ts";
import { writeTar } from "./tar/writer.ts";
import { treeRootfs } from "./tree.ts";

/**
 * A root that was changed, from a tar of it, with some places as the original has them: what has to be undone
 * becomes a layer of its own, made of the nodes that `undo` gives.
 * @throws FlixwrapError those of reading a layer.
 */
export function undoChanges(
  original: Rootfs,
  tar: ByteSource,
  description: string,
  undo: (changed: Rootfs) => Iterable<RootNode>,
): Rootfs {
  const stack = stackFiles(tar, description);
  const nodes = undo(treeRootfs(description, stack.root));
  const layer = memorySource(Buffer.concat([...writeTar(original, nodes)]));
  stack.apply(readTar(layer, description), layer, description);
  return treeRootfs(description, stack.root);
}

/**
 * Nodes of a layer that makes places what they were: whiteouts for what was not there, and the original nodes,
 * whole folders with everything in them. None of the places' parents is a link.
 */
export function* putBack(original: Rootfs, changed: Rootfs, places: readonly RootPath[]): Generator<RootNode> {
  for (const place of places) {
    const before = original.lookup(place);
    if (before === undefined) {
      if (changed.lookup(place) === undefined) continue;
      yield marker(childPath(parentOf(place), `.wh.${baseName(place)}`));
    } else {
      if (before.type === "directory") yield marker(childPath(place, ".wh..wh..opq"));
      yield* original.walk(place);
    }
    // That something came and went shows in its folder's time.
    const folder = original.lookup(parentOf(place));
    if (folder !== undefined && changed.lookup(parentOf(place))?.type === "directory") yield folder;
  }
}

const marker = (path: RootPath): RootNode => ({
  path,
  type: "file",
  mode: 0,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  size: 0,
  xattrs: new Map(),
  identity: `marker ${path}`,
});
