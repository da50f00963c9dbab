import { printable } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import type { RootNode, Rootfs } from "../oci/rootfs.ts";

/** One path of an extension, as `info --files` shows it. */
export interface ListedFile {
  readonly path: string;
  readonly type: RootNode["type"];
  /** Four octal digits. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a regular file. */
  readonly size?: number;
  readonly target?: string;
  /** Names of its extended attributes. */
  readonly xattrs?: readonly string[];
}

/** Everything in a root, folders before what is in them. */
export function listFiles(rootfs: Rootfs): readonly ListedFile[] {
  return Array.from(rootfs.walk(rootPath("/")), ({ path, type, mode, uid, gid, size, target, xattrs }) => ({
    path,
    type,
    mode: mode.toString(8).padStart(4, "0"),
    uid,
    gid,
    ...(type === "file" ? { size } : {}),
    ...(target === undefined ? {} : { target }),
    ...(xattrs.size === 0 ? {} : { xattrs: [...xattrs.keys()] }),
  }));
}

const letters = { file: "-", directory: "d", symlink: "l", "character-device": "c", "block-device": "b", fifo: "p" };

/** A line each, without control characters of the image's: type, mode, owner, size, path, target, attributes. */
export function wordFiles(files: readonly ListedFile[]): string {
  return files
    .map(({ path, type, mode, uid, gid, size, target, xattrs }) => {
      const end = `${target === undefined ? "" : ` -> ${target}`}${xattrs === undefined ? "" : ` [${xattrs.join(" ")}]`}`;
      return `${letters[type]}${mode} ${uid}:${gid} ${String(size ?? "-").padStart(10)} ${printable(path + end)}\n`;
    })
    .join("");
}
