import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
} from "node:fs";
import { Readable } from "node:stream";
import type { ByteSource } from "../core/bytes.ts";
import { quietContext, type Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { decodeName, encodeName } from "../core/names.ts";
import type { RootPath } from "../core/paths.ts";
import { backedRootfs, childPath } from "./backed-rootfs.ts";
import { CHUNK } from "./file-source.ts";
import { openFolderXattrs } from "./folder-xattrs.ts";
import type { NodeType, RootNode, Rootfs } from "./rootfs.ts";

/**
 * An unpacked root file system. The kernel is only ever asked about paths whose parents were seen to be
 * real folders, so no link of the root leads out of it. Sockets have no place in an image and are not seen.
 * @throws FlixwrapError `oci-no-folder`.
 */
export function openFolder(path: string, context: Context = quietContext()): Rootfs {
  const prefix = path.replace(/\/+$/, "");
  const xattrs = openFolderXattrs(prefix || "/", context);
  const xattrsAt = (inside: RootPath) => xattrs.of(inside);
  // Every path leads through the same few folders and links.
  const ways = new Map<RootPath, RootNode>();
  // Where the root itself is named through a link, its user wants that link to be followed; it is, once.
  const found = statSync(prefix || "/", { throwIfNoEntry: false });
  if (found?.isDirectory() === false) throw new FlixwrapError("oci-no-folder", { what: "not a folder", where: path });
  const root = nodeAt(`${prefix}/.`, "/" as RootPath, xattrsAt);
  if (root?.type !== "directory") throw new FlixwrapError("oci-no-folder", { what: "no such folder", where: path });

  return backedRootfs<RootNode>({
    description: path,
    root,
    child(folder, name) {
      const inside = childPath(folder.path, name);
      const seen = ways.get(inside);
      if (seen !== undefined) return seen;
      const node = nodeAt(prefix + inside, inside, xattrsAt);
      const isWay = node?.type === "directory" || node?.type === "symlink";
      if (isWay && ways.size < mostWays) ways.set(inside, node);
      return node;
    },
    names: (folder) => {
      const place = prefix + folder.path;
      return toldAs(place, () => readdirSync(encodeName(place), { encoding: "buffer" }).map(decodeName));
    },
    describe: (node) => node,
    open: (node) => fileSource(prefix + node.path, node.size),
    expectXattrs: (nodes) => xattrs.expect(nodes.map((node) => node.path)),
  });
}

/** A root has some thousand folders; a disk may have millions. */
const mostWays = 20_000;

/** What the kernel refuses, in words: a folder that this user may not read is no bug. */
function toldAs<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof FlixwrapError || code === undefined) throw error;
    throw new FlixwrapError(
      "oci-unreadable",
      { what: "cannot read a part of the folder", where: path, got: code },
      { cause: error },
    );
  }
}

const types: Readonly<Record<number, NodeType>> = {
  [constants.S_IFREG]: "file",
  [constants.S_IFDIR]: "directory",
  [constants.S_IFLNK]: "symlink",
  [constants.S_IFCHR]: "character-device",
  [constants.S_IFBLK]: "block-device",
  [constants.S_IFIFO]: "fifo",
};

function nodeAt(
  hostPath: string,
  path: RootPath,
  xattrsAt: (path: RootPath) => ReadonlyMap<string, Uint8Array>,
): RootNode | undefined {
  const bytes = encodeName(hostPath);
  const stat = toldAs(hostPath, () => lstatSync(bytes, { bigint: true, throwIfNoEntry: false }));
  const type = stat && types[Number(stat.mode) & constants.S_IFMT];
  if (stat === undefined || type === undefined) return undefined;
  const seconds = stat.mtimeNs / 1_000_000_000n - (stat.mtimeNs % 1_000_000_000n < 0n ? 1n : 0n);
  return {
    path,
    type,
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: { seconds: Number(seconds), nanoseconds: Number(stat.mtimeNs - seconds * 1_000_000_000n) },
    size: type === "file" ? Number(stat.size) : 0,
    ...(type === "symlink" && {
      target: toldAs(hostPath, () => decodeName(readlinkSync(bytes, { encoding: "buffer" }))),
    }),
    ...(type.endsWith("device") && { device: deviceNumbers(stat.rdev) }),
    identity: `${stat.dev}:${stat.ino}`,
    // Read only when somebody asks: it takes a child process.
    get xattrs() {
      return xattrsAt(path);
    },
  };
}

/** Linux' encoding of dev_t: makedev(3). */
const deviceNumbers = (rdev: bigint): NonNullable<RootNode["device"]> => ({
  major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
  minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
});

/** Opened anew for each use, never through a link; a file that changed its size meanwhile is an error. */
function fileSource(path: string, size: number): ByteSource {
  // Not to wait: what was a file a moment ago may be a pipe without a writer by now.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const open = (): number => toldAs(path, () => openSync(encodeName(path), flags));
  const changed = (): FlixwrapError =>
    new FlixwrapError("oci-file-changed", { what: "file changed while it was read", where: path });
  const openFile = (): number => {
    const fd = open();
    const stat = fstatSync(fd);
    if (stat.isFile() && stat.size === size) return fd;
    closeSync(fd);
    throw changed();
  };
  return {
    size,
    read(offset, length) {
      const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - offset)));
      if (bytes.length === 0) return bytes;
      const fd = open();
      try {
        for (let filled = 0; filled < bytes.length;) {
          const got = readAt(fd, bytes, filled, offset + filled);
          if (got === 0) throw changed();
          filled += got;
        }
        return bytes;
      } finally {
        closeSync(fd);
      }
    },
    stream: () =>
      size === 0
        ? Readable.from([], { objectMode: false })
        : createReadStream("", { fd: openFile(), end: size - 1, highWaterMark: CHUNK }),
    openFile,
  };
}

/** pread(2) of what is missing in `bytes`; 0 at the end of the file, and of a pipe, which has no places (ESPIPE). */
function readAt(fd: number, bytes: Uint8Array, filled: number, position: number): number {
  try {
    return readSync(fd, bytes, filled, bytes.length - filled, position);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESPIPE") return 0;
    throw error;
  }
}
