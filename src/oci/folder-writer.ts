import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { once } from "node:events";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { isAlive, ownToken } from "./process-token.ts";
import { interrupted } from "./retry.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";
import { writeTar } from "./tar-writer.ts";

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
  refuseExisting(goal, path);
  sweepLeftovers(goal);
  const made = join(dirname(goal), `.${basename(goal)}.${ownToken()}-${randomBytes(4).toString("hex")}`);
  const isRoot = userInfo().uid === 0;
  const { nodes, lost } = selectNodes(rootfs, isRoot);
  try {
    mkdirSync(made, { mode: 0o700 });
    await extract(writeTar(rootfs, nodes), made, isRoot, context);
    renameSync(made, goal);
  } catch (error) {
    removeFolder(made);
    if (context.signal.aborted) throw interrupted(error);
    if (error instanceof FlixwrapError) throw error;
    throw new FlixwrapError(
      "oci-write-folder",
      { what: "cannot write the folder", where: path, got: (error as Error).message },
      { cause: error },
    );
  }
  return { path, nodes: nodes.length, lost };
}

function refuseExisting(goal: string, path: string): void {
  const stat = statSync(goal, { throwIfNoEntry: false });
  if (stat === undefined || (stat.isDirectory() && readdirSync(goal).length === 0)) return;
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
    if (token !== undefined && isAlive(token) === false) removeFolder(join(dirname(goal), name));
  }
}

/** Also when the image has folders its user may not write to. */
function removeFolder(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    openFolders(path);
    rmSync(path, { recursive: true, force: true });
  }
}

function openFolders(path: string): void {
  chmodSync(path, 0o700);
  for (const entry of readdirSync(path, { withFileTypes: true, encoding: "buffer" })) {
    // A name that is no UTF-8 cannot be joined as a string; such a folder keeps its mode.
    if (entry.isDirectory()) openFolders(join(path, entry.name.toString("utf8")));
  }
}

function selectNodes(rootfs: Rootfs, isRoot: boolean): { nodes: RootNode[]; lost: WrittenFolder["lost"] } {
  const lost = { owners: 0, devices: 0, xattrs: 0 };
  const nodes: RootNode[] = [];
  for (const node of rootfs.walk(rootPath("/"))) {
    if (isRoot) {
      nodes.push(node);
      continue;
    }
    if (node.type.endsWith("-device")) {
      lost.devices += 1;
      continue;
    }
    if (node.uid !== userInfo().uid || node.gid !== userInfo().gid) lost.owners += 1;
    const kept = new Map([...node.xattrs].filter(([key]) => key.startsWith("user.")));
    lost.xattrs += node.xattrs.size - kept.size;
    nodes.push(kept.size === node.xattrs.size ? node : { ...node, xattrs: kept });
  }
  return { nodes, lost };
}

async function extract(tar: Iterable<Uint8Array>, folder: string, isRoot: boolean, context: Context): Promise<void> {
  const child = spawn(
    "tar",
    // -P: links as they are; the stream has no path that leaves the folder.
    `-xPpf - --numeric-owner --delay-directory-restore --xattrs --xattrs-include=* --no-acls --no-selinux`
      .split(" ")
      .concat(isRoot ? "--same-owner" : "--no-same-owner", "-C", folder),
    { stdio: ["pipe", "ignore", "pipe"], env: { PATH: context.env.PATH, LC_ALL: "C" }, signal: context.signal },
  );
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk.toString("utf8")).slice(-4096);
  });
  const ended = new Promise<number | null>((done, fail) => {
    child.once("error", fail);
    child.once("close", done);
  });
  ended.catch(() => undefined);
  child.stdin.on("error", () => undefined);
  for (const chunk of tar) {
    if (child.stdin.destroyed || child.exitCode !== null) break;
    if (!child.stdin.write(chunk)) await Promise.race([once(child.stdin, "drain"), ended]);
  }
  child.stdin.end();
  const status = await ended.catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw cause;
    throw new FlixwrapError("oci-write-folder", { what: "tar is required to write a folder", hint: "install GNU tar" });
  });
  if (status === 0) return;
  throw new Error(complaints.trim().split("\n").slice(0, 3).join("; ") || `tar ended with status ${status}`);
}
