import type { ByteSource } from "../core/bytes.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { encodeName } from "../core/names.ts";
import type { RootPath } from "../core/paths.ts";
import { findPath, type Trail, type Walkable } from "./find-path.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";

/** The four primitives that make a {@link Rootfs}; `N` is the backing's own kind of node. */
export interface Backing<N extends Walkable> {
  readonly description: string;
  readonly root: N;
  readonly child: (folder: N, name: string) => N | undefined;
  /** Names in a folder, in any order. */
  readonly names: (folder: N) => Iterable<string>;
  readonly describe: (node: N, path: RootPath) => RootNode;
  readonly open: (node: N, path: RootPath) => ByteSource;
  readonly expectXattrs?: (nodes: readonly RootNode[]) => void;
}

/** A root file system over any backing: resolution, listing and walking are the same for all of them. */
export function backedRootfs<N extends Walkable>(backing: Backing<N>): Rootfs {
  const find = (path: RootPath, followLast: boolean): Trail<N> | undefined =>
    findPath(backing.root, path, backing.child, { followLast });
  // A node that was handed out is not looked for again, and has one source, whoever asks: what was read from that stays.
  const described = new WeakMap<RootNode, N>();
  const sources = new WeakMap<RootNode, ByteSource>();
  const describeNode = (node: N, path: RootPath): RootNode => {
    const told = backing.describe(node, path);
    described.set(told, node);
    return told;
  };
  const describe = (trail: Trail<N>): RootNode => describeNode(trail.nodes.at(-1)!, pathOf(trail.names));
  const openNode = (node: RootNode): ByteSource => {
    const found = described.get(node) ?? find(node.path, false)?.nodes.at(-1);
    if (found?.type !== "file") {
      throw new FlixwrapError("oci-not-a-file", { what: "cannot read, no regular file", where: node.path });
    }
    return backing.open(found, node.path);
  };
  const sortedNames = (folder: N): string[] => [...backing.names(folder)].sort(compareNames);

  return {
    description: backing.description,
    ...defined({ expectXattrs: backing.expectXattrs }),
    lookup(path) {
      const trail = find(path, false);
      return trail && describe(trail);
    },
    resolve(path) {
      const trail = find(path, true);
      return trail && describe(trail);
    },
    list(path) {
      const folder = find(path, true)?.nodes.at(-1);
      return folder?.type === "directory" ? sortedNames(folder) : [];
    },
    open(node) {
      let source = sources.get(node);
      if (source === undefined) {
        source = openNode(node);
        sources.set(node, source);
      }
      return source;
    },
    *walk(from) {
      const start = find(from, false);
      if (start === undefined) return;
      // A stack instead of recursion: an image may nest folders a thousand deep.
      const pending: { readonly node: N; readonly path: RootPath }[] = [
        { node: start.nodes.at(-1)!, path: pathOf(start.names) },
      ];
      for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
        const { node, path } = next;
        yield describeNode(node, path);
        if (node.type !== "directory") continue;
        for (const name of sortedNames(node).reverse()) {
          const child = backing.child(node, name);
          if (child !== undefined) pending.push({ node: child, path: childPath(path, name) });
        }
      }
    },
  };
}

const pathOf = (names: readonly string[]): RootPath => `/${names.join("/")}` as RootPath;

/** Name of an existing child appended; neither needs normalising. */
export const childPath = (folder: RootPath, name: string): RootPath =>
  (folder === "/" ? `/${name}` : `${folder}/${name}`) as RootPath;

/** Order by the bytes of the names. UTF-16 order is the same until a surrogate is involved. */
export function compareNames(a: string, b: string): number {
  if (/[\ud800-\uffff]/.test(a) || /[\ud800-\uffff]/.test(b)) return Buffer.compare(encodeName(a), encodeName(b));
  return a < b ? -1 : a > b ? 1 : 0;
}
