import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { copyFile, type FileHandle, open } from "node:fs/promises";
import type { Context } from "../core/context.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { encodeName } from "../core/names.ts";
import type { ExtPath } from "../core/paths.ts";
import type { ExtensionTree, TreeNode } from "../extension/tree.ts";
import { runCommand } from "../host/command.ts";
import { wordSystemError } from "../host/system-error.ts";
import { currentUser } from "../host/user.ts";

/** What a staged folder could not hold because the user may not give it. */
export interface StageLosses {
  /** Paths whose owner is not the tree's. */
  readonly owners: number;
  /** Paths whose extended attributes are missing. */
  readonly xattrs: number;
}

/**
 * Writes the tree into `folder`, which must not exist: the one writer of folders. Nothing in it is followed or
 * overwritten (every node is created anew, parents first, below folders made here). Owners and file capabilities
 * are given as far as the user may; all times are `epoch` seconds. `namespace` is for a tool that an ordinary user
 * runs in a user namespace of his own: there he may give capabilities, which mean nothing to the host.
 */
export async function stageTree(
  tree: ExtensionTree,
  folder: string,
  epoch: number,
  context: Context,
  asSeenBy: "host" | "namespace" = "host",
): Promise<StageLosses> {
  const { isRoot } = currentUser();
  const place = (path: ExtPath) => Buffer.concat([Buffer.from(folder), encodeName(path === "/" ? "" : path)]);
  const told = (path: ExtPath, error: unknown) =>
    wordSystemError(error, "host-stage", "cannot write the extension's folder", `${folder}${path}`);
  const folders: [ExtPath, TreeNode][] = [];
  // Files with their names, of which those after the first are links.
  const files = new Map<FileNode, ExtPath[]>();
  let at: ExtPath = "/" as ExtPath;
  try {
    for (const [path, node] of tree.nodes) {
      at = path;
      if (node.type === "directory") {
        mkdirSync(place(path), { mode: 0o700 });
        folders.push([path, node]);
      } else if (node.type === "symlink") {
        writeSymlink(place(path), node, epoch, isRoot);
      } else {
        const names = files.get(node);
        if (names === undefined) files.set(node, [path]);
        else names.push(path);
      }
    }
    await forEachOf(files, context.signal, async ([node, [first, ...others]]) => {
      try {
        await writeFile(place(first!), node, epoch, isRoot);
        for (const name of others) linkSync(place(first!), place(name));
      } catch (error) {
        throw told(first!, error);
      }
    });
    // Notes of the user's own (user.*) anybody may write, everything else means something to the kernel.
    const may = (name: string) => isRoot || asSeenBy === "namespace" || name.startsWith("user.");
    await writeXattrs(tree, { folder, may, inNamespace: !isRoot && asSeenBy === "namespace" }, context);
    // Last and from below: making an entry changes its folder's time, and a folder may be closed to its owner.
    for (const [path, node] of folders.reverse()) {
      at = path;
      if (isRoot) chownSync(place(path), node.uid, node.gid);
      chmodSync(place(path), node.mode);
      lutimesSync(place(path), epoch, epoch);
    }
    return countLosses(tree, isRoot, may);
  } catch (error) {
    throw told(at, error);
  }
}

/** libuv has as many threads for files. */
const atOnce = 4;

/** Works on several at once; after a failure nothing new is begun, and what was begun ends first. */
async function forEachOf<T>(all: Iterable<T>, signal: AbortSignal, work: (one: T) => Promise<void>): Promise<void> {
  const pending = all[Symbol.iterator]();
  let failed = false;
  const workers = Array.from({ length: atOnce }, async () => {
    for (let next = pending.next(); next.done !== true && !failed; next = pending.next()) {
      if (signal.aborted) throw interrupted();
      try {
        await work(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  });
  for (const result of await Promise.allSettled(workers)) if (result.status === "rejected") throw result.reason;
}

type FileNode = TreeNode & { type: "file" };

function writeSymlink(goal: Buffer, node: TreeNode & { type: "symlink" }, epoch: number, isRoot: boolean): void {
  symlinkSync(encodeName(node.target), goal);
  if (isRoot) lchownSync(goal, node.uid, node.gid);
  lutimesSync(goal, epoch, epoch);
}

async function writeFile(goal: Buffer, node: FileNode, epoch: number, isRoot: boolean): Promise<void> {
  const source = node.content.openFile?.();
  if (source === undefined) await writeContent(goal, node);
  else await copyContent(source, goal);
  if (isRoot) chownSync(goal, node.uid, node.gid);
  // After the owner: chown(2) clears setuid.
  chmodSync(goal, node.mode);
  utimesSync(goal, epoch, epoch);
}

/** The kernel copies, on some file systems without moving a byte. The way by the descriptor leads through no link. */
async function copyContent(source: number, goal: Buffer): Promise<void> {
  try {
    await copyFile(`/proc/self/fd/${source}`, goal, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  } finally {
    closeSync(source);
  }
}

async function writeContent(goal: Buffer, node: FileNode): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(goal, flags, 0o600);
  try {
    await writeChunks(file, node);
  } finally {
    await file.close();
  }
}

async function writeChunks(file: FileHandle, node: FileNode): Promise<void> {
  let offset = 0;
  for await (const chunk of node.content.stream() as AsyncIterable<Uint8Array>) {
    for (let done = 0; done < chunk.length;)
      done += (await file.write(chunk, done, chunk.length - done, offset + done)).bytesWritten;
    offset += chunk.length;
  }
  if (offset !== node.content.size)
    throw new FlixwrapError("extension-content-size", {
      what: "a file's content is not as long as its entry says",
      got: `${offset} bytes`,
      wanted: `${node.content.size} bytes`,
    });
}

/** Node has no setxattr(2): all of them at once through setfattr, in the format of getfattr --dump. */
async function writeXattrs(
  tree: ExtensionTree,
  { folder, may, inNamespace }: { folder: string; may: (name: string) => boolean; inNamespace: boolean },
  context: Context,
): Promise<void> {
  const lines: string[] = [];
  for (const [path, node] of tree.nodes) {
    const given = [...node.xattrs].filter(([name]) => may(name));
    if (given.length === 0) continue;
    const escaped = encodeName(`.${path}`)
      .toString("latin1")
      .replace(/[^!-[\]-~]/g, (byte) => `\\${byte.charCodeAt(0).toString(8).padStart(3, "0")}`);
    lines.push(`# file: ${escaped}`);
    for (const [name, value] of given) lines.push(`${name}=0x${Buffer.from(value).toString("hex")}`);
    lines.push("");
  }
  if (lines.length === 0) return;
  const command = ["setfattr", "--no-dereference", "--restore=-"];
  const [tool, ...args] = inNamespace ? ["unshare", "--map-root-user", ...command] : command;
  await runCommand(
    {
      tool: tool!,
      package: "attr",
      purpose: "write extended attributes into a folder",
      args,
      cwd: folder,
      stdin: Buffer.from(`${lines.join("\n")}\n`),
    },
    context,
  );
}

function countLosses(tree: ExtensionTree, isRoot: boolean, may: (name: string) => boolean): StageLosses {
  const nodes = [...tree.nodes.values()];
  const { uid, gid } = currentUser();
  return {
    owners: isRoot ? 0 : nodes.filter((node) => node.uid !== uid || node.gid !== gid).length,
    xattrs: nodes.filter(({ xattrs }) => [...xattrs.keys()].some((name) => !may(name))).length,
  };
}
