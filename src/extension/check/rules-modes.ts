import { type Finding, found } from "./finding.ts";
import type { Subject } from "./subject.ts";

/** `0755` */
export const octal = (mode: number) => mode.toString(8).padStart(4, "0");

/**
 * A folder takes the mode of the topmost layer that has it: one that is closed to others closes the host's own
 * (a build with umask 077 closes /usr/bin).
 */
export function* checkFolderModes({ nodes, privateRootOf }: Subject): Iterable<Finding> {
  for (const { path, type, mode } of nodes) {
    if (type !== "directory") continue;
    // In a root of its own it is the image's, and no host has a folder there.
    if (privateRootOf(path) !== undefined) continue;
    const isShared = /^\/(usr|opt)(\/[^/]+){0,2}$/.test(path);
    if ((mode & 0o005) !== 0o005)
      yield found("folder-closed", isShared ? "error" : "warning", path, { mode: octal(mode) });
  }
}

/** Anybody may change it: in a folder merged over the host's, anybody may change the host. */
export function* checkWorldWritable({ nodes, privateRootOf }: Subject): Iterable<Finding> {
  for (const { path, type, mode } of nodes) {
    if (type === "symlink" || (mode & 0o002) === 0) continue;
    const isPrivateTmp = privateRootOf(path) !== undefined && (mode & 0o1000) !== 0;
    yield found("world-writable", isPrivateTmp ? "note" : "error", path, { mode: octal(mode) });
  }
}

/** Programs that act for another user. */
export function* checkSetuid({ nodes }: Subject): Iterable<Finding> {
  for (const { path, type, mode, xattrs } of nodes) {
    if (type !== "file") continue;
    if ((mode & 0o6000) !== 0) yield found("setuid", "warning", path, { mode: octal(mode) });
    if (xattrs.has("security.capability")) yield found("capability", "note", path);
  }
}

/** Users and groups of the image's system, which the host has under other numbers. */
export function* checkOwners({ nodes }: Subject): Iterable<Finding> {
  for (const { path, uid, gid } of nodes)
    if (uid !== 0 || gid !== 0) yield found("owner", "warning", path, { owner: `${uid}:${gid}` });
}

/** Device nodes, pipes. */
export function* checkSpecialFiles({ nodes }: Subject): Iterable<Finding> {
  for (const { path, type } of nodes)
    if (type !== "file" && type !== "directory" && type !== "symlink")
      yield found("special-file", "error", path, { type });
}
