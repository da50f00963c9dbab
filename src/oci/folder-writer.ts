import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { extractTar } from "./extract.ts";
import { removeTree } from "./remove-tree.ts";
import { isAlive, ownToken } from "../host/process-token.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";
import { writeTar } from "./tar/writer.ts";
import { currentUser } from "../host/user.ts";

/** What became of a root that was written as a folder. */
export interface WrittenFolder {
  readonly path: string;
  readonly nodes: number;
  /** Only root may make these; as somebody else they are left out, or made without it. */
  readonly lost: { readonly owners: number; readonly devices: number; readonly xattrs: number };
}

/**
 * Writes a root file system as a folder, with owners, devices and extended attributes as far as the user may.
 * GNU tar does it: Node can make neither devices nor extended attributes. What it reads is a tar of the
 * merged tree, made by us: no path of it leads through a link, so nothing can be written outside. The folder
 * appears under its name when it is whole; an existing one is only replaced when it is empty.
 * @throws FlixwrapError `oci-folder-exists`, `oci-write-folder`, `interrupted`.
 */
export async function writeFolder(rootfs: Rootfs, path: string, context: Context): Promise<WrittenFolder> {
  const goal = resolve(path);
  refuseExisting(path);
  sweepLeftovers(goal);
  const made = join(dirname(goal), `.${basename(goal)}.${ownToken()}-${randomBytes(4).toString("hex")}`);
  const isRoot = currentUser().isRoot;
  const count = { nodes: 0, lost: { owners: 0, devices: 0, xattrs: 0 } };
  try {
    mkdirSync(made, { mode: 0o700 });
    await extractTar(writeTar(rootfs, writableNodes(rootfs, isRoot, count)), made, context, { owners: isRoot });
    renameSync(made, goal);
  } catch (error) {
    removeTree(made);
    if (context.signal.aborted) throw interrupted(error);
    if (error instanceof FlixwrapError) throw error;
    throw new FlixwrapError(
      "oci-write-folder",
      { what: "cannot write the folder", where: path, got: (error as Error).message },
      { cause: error },
    );
  }
  return { path, ...count };
}

/** @throws FlixwrapError `oci-write-folder` where no folder can stand; `oci-folder-exists` unless there is nothing, or an empty folder. */
export function refuseExisting(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  const parent = dirname(resolve(path));
  if (statSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new FlixwrapError("oci-write-folder", {
      what: "cannot write the folder",
      where: path,
      got: `no folder ${parent}`,
    });
  }
  if (stat === undefined || (stat.isDirectory() && readdirSync(path).length === 0)) return;
  throw new FlixwrapError("oci-folder-exists", {
    what: "there is something already, and it is not replaced",
    where: path,
    hint: "remove it first, or choose another name",
  });
}

/** Halves of this very folder whose writers were killed. */
function sweepLeftovers(goal: string): void {
  const prefix = `.${basename(goal)}.`;
  let names: string[];
  try {
    names = readdirSync(dirname(goal));
  } catch {
    // It will be told when the folder is made.
    return;
  }
  for (const name of names) {
    const token = name.startsWith(prefix)
      ? /^(\d+-\d+-\d+)-[0-9a-f]{8}$/.exec(name.slice(prefix.length))?.[1]
      : undefined;
    if (token === undefined || isAlive(token) !== false) continue;
    const path = join(dirname(goal), name);
    // In a folder like /tmp anybody may use such a name, and change what is in it while we remove it.
    if (lstatSync(path, { throwIfNoEntry: false })?.uid === currentUser().uid) removeTree(path);
  }
}

/** One node after the other, since a root may have a million; what cannot be made is counted. */
function* writableNodes(
  rootfs: Rootfs,
  isRoot: boolean,
  count: { nodes: number; lost: { owners: number; devices: number; xattrs: number } },
): Generator<RootNode> {
  const { uid, gid } = currentUser();
  const { lost } = count;
  for (const node of rootfs.walk(rootPath("/"))) {
    const kept = isRoot ? node : withoutPrivileges(node);
    if (kept === undefined) {
      lost.devices += 1;
      continue;
    }
    if (!isRoot && (node.uid !== uid || node.gid !== gid)) lost.owners += 1;
    lost.xattrs += node.xattrs.size - kept.xattrs.size;
    count.nodes += 1;
    yield kept;
  }
}

/** What of a node an ordinary user can make. */
function withoutPrivileges(node: RootNode): RootNode | undefined {
  if (node.type.endsWith("-device")) return undefined;
  const xattrs = new Map([...node.xattrs].filter(([key]) => key.startsWith("user.")));
  return xattrs.size === node.xattrs.size ? node : { ...node, xattrs };
}
