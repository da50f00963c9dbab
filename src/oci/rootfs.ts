import type { ByteSource } from "../core/bytes.ts";
import type { RootPath } from "../core/paths.ts";

/**
 * A read-only root file system that was never unpacked. Behind it stand an image's layers, a folder, or a
 * map in memory; every link is resolved by our own code inside the root, never by the kernel.
 */
export interface Rootfs {
  /** What the root is, for messages: `docker.io/library/alpine@sha256:…`, `/srv/rootfs`. */
  readonly description: string;
  /** The node at `path` itself. Links in its parent folders are followed inside the root, a link at its end is not. */
  lookup(path: RootPath): RootNode | undefined;
  /**
   * The node that `path` leads to when every link is followed inside the root: absolute links restart at the
   * root and `..` stops there, as after chroot(2). Undefined when something on the way is missing.
   * @throws FlixwrapError `oci-link-loop` after 40 links (path_resolution(7)).
   */
  resolve(path: RootPath): RootNode | undefined;
  /** The names in a folder, sorted by their bytes; links to it are followed, as opendir(3) does. Else empty. */
  list(folder: RootPath): readonly string[];
  /** The content of a regular file; `node` must come from this root. */
  open(node: RootNode): ByteSource;
  /** Tells whose extended attributes will be asked for: a folder has to have them read, and does it at once. */
  expectXattrs?(nodes: readonly RootNode[]): void;
  /** `node` and everything below it, parents first, siblings sorted by their bytes; links are not followed. */
  walk(from: RootPath): Iterable<RootNode>;
}

/** Types of nodes; sockets have no place in an image. */
export type NodeType = "file" | "directory" | "symlink" | "character-device" | "block-device" | "fifo";

/** One node of a root file system. */
export interface RootNode {
  /** The node's real path: none of its parents is a link. */
  readonly path: RootPath;
  readonly type: NodeType;
  /** Permission bits with setuid, setgid and sticky: `0o0000`..`0o7777`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970, with nanoseconds as the image has them. */
  readonly mtime: { readonly seconds: number; readonly nanoseconds: number };
  /** Bytes of a regular file; 0 for everything else. */
  readonly size: number;
  /** Target of a symlink, as written. */
  readonly target?: string;
  readonly device?: { readonly major: number; readonly minor: number };
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Equal for two paths of one file (hard links), different for any other two nodes of the root. */
  readonly identity: string;
}
