import { FlixwrapError } from "../core/errors.ts";
import type { NodeType } from "./rootfs.ts";

/** What path resolution must know of a node, whatever stands behind it. */
export interface Walkable {
  readonly type: NodeType;
  /** Of a symlink, as written. */
  readonly target?: string;
}

/** From the root to the node that was found: every folder entered on the way, none of them a link. */
export interface Trail<N> {
  readonly nodes: readonly [N, ...N[]];
  /** One name fewer than nodes: the root has none. */
  readonly names: readonly string[];
}

/** How {@link findPath} treats links and missing names. */
export interface FindOptions<N> {
  /** Follow a link at the very end, too. */
  readonly followLast: boolean;
  /** Called for a name that is missing; what it makes is entered. Without it, missing means undefined. */
  readonly create?: (folder: N, name: string) => N;
  /** Told how many parts each followed link adds to the path. */
  readonly spend?: (parts: number) => void;
}

/** path_resolution(7): the kernel follows at most 40 links. */
const MAX_LINKS = 40;
/** Bytes of their targets together. `a/../a/../…` in each of the 40 would be 80,000 folders on the way. */
const MAX_LINK_BYTES = 8192;

/**
 * Resolves a path inside a root, as chroot(2) would make the kernel do it: absolute links restart at the
 * root, `..` stops there. The one place where links of an image are followed.
 * Undefined when something is missing or a parent is no folder.
 * @throws FlixwrapError `oci-link-loop` after 40 links.
 */
export function findPath<N extends Walkable>(
  root: N,
  path: string,
  child: (folder: N, name: string) => N | undefined,
  options: FindOptions<N>,
): Trail<N> | undefined {
  const nodes: [N, ...N[]] = [root];
  const names: string[] = [];
  const pending = path.split("/").reverse();
  let links = 0;
  let linkBytes = 0;

  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    const folder = nodes.at(-1)!;
    if (folder.type !== "directory") {
      if (part === "" && pending.every((rest) => rest === "")) continue;
      return undefined;
    }
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (names.pop() !== undefined) nodes.pop();
      continue;
    }
    const found = child(folder, part) ?? options.create?.(folder, part);
    if (found === undefined) return undefined;
    if (found.type === "symlink" && (options.followLast || pending.length > 0)) {
      links += 1;
      const target = found.target ?? "";
      if (target === "") return undefined;
      linkBytes += target.length;
      if (links > MAX_LINKS || linkBytes > MAX_LINK_BYTES) {
        throw new FlixwrapError("oci-link-loop", { what: "too many links in a path of the image", where: path });
      }
      const parts = target.split("/");
      options.spend?.(parts.length);
      if (target.startsWith("/")) {
        nodes.length = 1;
        names.length = 0;
      }
      pending.push(...parts.reverse());
      continue;
    }
    nodes.push(found);
    names.push(part);
  }
  return { nodes, names };
}
