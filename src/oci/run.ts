import { chmodSync, closeSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { FlixwrapError, printable } from "../core/errors.ts";
import { confine, type Confinement } from "../core/sandbox.ts";
import { baseName, parentOf, rootPath, type RootPath } from "../core/paths.ts";
import { inheritedDescriptors } from "../host/descriptors.ts";
import { spool } from "./archive.ts";
import { childPath } from "./backed-rootfs.ts";
import type { Cache } from "./cache/cache.ts";
import { childOutput, runChild, type Ended } from "./child.ts";
import { extractTar } from "./extract.ts";
import type { Engine } from "./daemon/endpoint.ts";
import type { Digest } from "./digest.ts";
import { descriptorSource } from "./file-source.ts";
import { emulate } from "./emulation.ts";
import { stackFiles } from "./layers.ts";
import type { ImageConfig } from "./manifest.ts";
import { findPrivilege, type Privilege } from "./namespaces.ts";
import { removeTree } from "./remove-tree.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";
import { writeTar } from "./tar/writer.ts";
import { treeRootfs } from "./tree.ts";
import { putBack, undoChanges } from "./undo.ts";

/** What is run in a root, and how. */
export interface RunOptions {
  /** Each runs by `/bin/sh -c`, as root of the image, one after the other. */
  readonly commands: readonly string[];
  readonly config: ImageConfig;
  /** `none` takes the network away; `host` (default) shares the host's. */
  readonly network?: "host" | "none";
  /** The daemon that runs them; namespaces of our own when undefined. */
  readonly engine?: Engine;
  readonly cache: Cache;
  readonly context: Context;
}

/** A root after commands have run in a copy of it. */
export interface ChangedRoot {
  readonly rootfs: Rootfs;
  close(): void;
}

/**
 * Runs commands in a copy of a root, in namespaces and without a daemon, as root or as an ordinary user, and
 * gives the root as it is then. What only the running needed (devices, resolv.conf, /tmp) is as it was before.
 * @throws FlixwrapError `oci-run-failed` with the status and the last lines of the failing command,
 * `oci-no-namespaces`, `oci-tool-missing`, `interrupted`.
 */
export async function runInRoot(rootfs: Rootfs, options: RunOptions): Promise<ChangedRoot> {
  const { cache, context, engine } = options;
  if (engine !== undefined) return await (await import("./daemon/run.ts")).runByEngine(rootfs, { ...options, engine });
  const privilege = await findPrivilege(context);
  if (privilege.kind === "single") context.emit({ kind: "warning", message: singleWarning });
  const work = cache.temporaryName();
  try {
    mkdirSync(join(work, "root"), { recursive: true, mode: 0o700 });
    mkdirSync(join(work, "tmp"));
    chmodSync(join(work, "tmp"), 0o1777);
    const nodes = [...rootfs.walk(rootPath("/"))];
    const kept = privilege.kind === "root" ? nodes : nodes.filter(({ type }) => !type.endsWith("-device"));
    await extractTar(writeTar(rootfs, kept), join(work, "root"), context, {
      owners: privilege.kind !== "single",
      enter: privilege.enter,
    });
    const setting = prepare(rootfs, work, privilege, options);
    const confinement = confine(setting.folders.proc, inheritedDescriptors());
    const enter = [...(await emulate(rootfs, privilege, context)), ...sandbox(setting, work, confinement, options)];
    for (const command of options.commands) await runCommand([...enter, command], confinement, context);
    return await collect(rootfs, setting, work, privilege, options);
  } catch (error) {
    throw error instanceof FlixwrapError ? error : runError((error as Error).message, { cause: error });
  } finally {
    removeTree(work);
  }
}

const singleWarning =
  "this user has no range of subordinate ids: everything will belong to root; install uidmap and add the user to /etc/subuid and /etc/subgid for more";

/** The error for commands that could not be started or failed. */
export const runError = (got: string, options?: { cause: unknown }): FlixwrapError =>
  new FlixwrapError("oci-run-failed", { what: "cannot run commands inside the image", got }, options);

/** What is shown inside while commands run, and must not be left in the result. */
interface Setting {
  /** Files, as `[path of the host, place inside]`. */
  readonly files: readonly (readonly [string, RootPath])[];
  readonly folders: { readonly dev: RootPath; readonly proc: RootPath; readonly tmp: RootPath };
  /** Places that are put back to what the original root has there, each with its real parent folder. */
  readonly restore: readonly RootPath[];
}

function prepare(rootfs: Rootfs, work: string, privilege: Privilege, options: RunOptions): Setting {
  const restore: RootPath[] = [];
  const folder = (path: string): RootPath => {
    const real = rootfs.resolve(rootPath(path));
    if (real?.type === "directory") return real.path;
    if (rootfs.lookup(rootPath(path)) !== undefined) throw runError(`the image's ${path} is no folder`);
    restore.push(rootPath(path));
    return rootPath(path);
  };
  const folders = { dev: folder("/dev"), proc: folder("/proc"), tmp: folder("/tmp") };
  const has = (path: string): boolean => rootfs.resolve(rootPath(path)) !== undefined;
  const shown: readonly (readonly [path: string, wanted: boolean, content: string, mode: number])[] = [
    ["/etc/resolv.conf", options.network !== "none", readResolvConf(), 0o644],
    ["/etc/hosts", !has("/etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n", 0o644],
    // Debian's packages ask it before they start a service (policy-rc.d, invoke-rc.d(8)).
    [
      "/usr/sbin/policy-rc.d",
      has("/usr/sbin/invoke-rc.d") && !has("/usr/sbin/policy-rc.d"),
      "#!/bin/sh\nexit 101\n",
      0o755,
    ],
    ["/etc/apt/apt.conf.d/99flixwrap", privilege.kind === "single", 'APT::Sandbox::User "root";\n', 0o644],
  ];
  const files: (readonly [string, RootPath])[] = [];
  for (const [path, wanted, content, mode] of shown) {
    const parent = wanted ? rootfs.resolve(parentOf(rootPath(path))) : undefined;
    if (parent?.type !== "directory") continue;
    const place = childPath(parent.path, baseName(path));
    const there = rootfs.resolve(place);
    const source = join(work, `shown-${files.length}`);
    writeFileSync(source, content, { mode });
    chmodSync(source, mode);
    if (there?.type === "file") files.push([source, there.path]);
    else {
      // A link that leads nowhere gives way to a file for the time being. No parent of it is a link.
      rmSync(join(work, "root", place), { force: true });
      restore.push(place);
      files.push([source, place]);
    }
  }
  return { files, folders, restore };
}

function readResolvConf(): string {
  try {
    return readFileSync("/etc/resolv.conf", "utf8");
  } catch {
    return "";
  }
}

/** Docker's: enough for package managers, not for the host. */
const capabilities =
  "chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,sys_chroot,kill,audit_write";

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** bubblewrap: pivot_root, own processes, devices and /proc; everything dies with it, and it dies with us. */
function sandbox({ files, folders }: Setting, work: string, confinement: Confinement, options: RunOptions): string[] {
  const { env: own } = options.context;
  const proxies = Object.entries(own).filter(([name]) => /^(https?|ftp|no|all)_proxy$/i.test(name));
  const env = new Map([
    ["PATH", usualPath],
    ["HOME", "/root"],
    ["LANG", "C.UTF-8"],
    ["DEBIAN_FRONTEND", "noninteractive"],
    ...proxies.map(([name, value]) => [name, value ?? ""] as const),
    ...options.config.env.map((line) => [line.replace(/=.*$/s, ""), line.replace(/^[^=]*=?/s, "")] as const),
  ]);
  return [
    "bwrap",
    ..."--unshare-ipc --unshare-pid --unshare-uts --die-with-parent --clearenv".split(" "),
    ...(options.network === "none" ? ["--unshare-net"] : []),
    ...[...env].filter(([name]) => name !== "").flatMap(([name, value]) => ["--setenv", name, value]),
    ...["--bind", join(work, "root"), "/", "--dev", folders.dev, ...confinement.options],
    ...capabilities.split(",").flatMap((name) => ["--cap-add", `CAP_${name.toUpperCase()}`]),
    ...["--bind", join(work, "tmp"), folders.tmp],
    ...files.flatMap(([source, place]) => ["--ro-bind", source, place]),
    ...["--chdir", options.config.workingDir || "/", "--", "/bin/sh", "-c"],
  ];
}

async function runCommand(argv: readonly string[], { given }: Confinement, context: Context): Promise<void> {
  const listening = listen(argv.at(-1)!, context);
  const what = { argv, purpose: "run commands inside an image", package: "bubblewrap", given };
  const { status } = await runChild(what, context, { onLine: listening.onLine });
  if (status !== 0) throw listening.failed(status);
}

/** Tells a command and its lines as they come, and keeps the last ones for the error. */
export function listen(
  command: string,
  context: Context,
): { onLine(line: string): void; failed(status: number, which?: string): FlixwrapError } {
  const said: string[] = [];
  context.emit({ kind: "step", step: "run", detail: printable(command) });
  return {
    onLine(line) {
      said.push(line);
      if (said.length > 10) said.shift();
      context.emit({ kind: "step", step: "run", detail: line });
    },
    failed(status, which = command) {
      const isForeign = said.some((line) => /exec format error/i.test(line));
      return new FlixwrapError("oci-run-failed", {
        what: "a command failed inside the image",
        where: printable(which),
        got: `exit status ${status}`,
        ...(isForeign && { hint: "the image is for another processor: install qemu-user-static" }),
        items: said,
      });
    },
  };
}

/** The changed root as one tar, with what the running needed put back as it was. */
async function collect(
  original: Rootfs,
  { restore }: Setting,
  work: string,
  privilege: Privilege,
  { cache, context }: RunOptions,
): Promise<ChangedRoot> {
  const words = "tar -cf - --xattrs --xattrs-include=* --numeric-owner --sort=name --format=posix".split(" ");
  const argv = [...privilege.enter, ...words, "-C", join(work, "root"), "."];
  const command = { argv, purpose: "read the folder that commands ran in", package: "tar" };
  const fail = ({ status, complaints }: Ended): FlixwrapError =>
    runError(complaints.at(-1) ?? `tar ended with status ${status}`);
  const { fd, source } = await spool(childOutput(command, context, fail), "the root after the commands", cache);
  const description = `${original.description} after its commands`;
  const rootfs = undoChanges(original, source, description, (changed) => [
    ...putBack(original, changed, restore),
    ...(privilege.kind === "root" ? [] : lostDevices(original, changed)),
  ]);
  return { rootfs, close: () => closeSync(fd) };
}

/** Devices that an ordinary user cannot make, where their folders still are. */
function* lostDevices(original: Rootfs, changed: Rootfs): Generator<RootNode> {
  for (const node of original.walk(rootPath("/"))) {
    const parent = changed.lookup(parentOf(node.path));
    if (node.type.endsWith("-device") && parent?.path === parentOf(node.path) && parent.type === "directory")
      yield node;
  }
}

/**
 * The same with the results kept in the cache: as long as the image and the commands are the same, they do not
 * run again.
 */
export async function runOnce(rootfs: Rootfs, digest: Digest, options: RunOptions): Promise<ChangedRoot> {
  const { cache, commands, network = "host", engine = "none" } = options;
  const facts = JSON.stringify([RUN_VERSION, digest, commands, network, engine]);
  const key = createHash("sha256").update(facts).digest("hex");
  const known = cache.readResult(key);
  const kept = known && (await cache.findLayer(known));
  if (known !== undefined && kept !== undefined) return openKept(rootfs, known, kept);
  const changed = await runInRoot(rootfs, options);
  try {
    const made = await cache.addLayer(writeTar(changed.rootfs, changed.rootfs.walk(rootPath("/"))));
    cache.writeResult(key, made);
    return changed;
  } catch (error) {
    changed.close();
    throw error;
  }
}

/** Raise it when commands run in another way than before. */
const RUN_VERSION = 1;

function openKept(original: Rootfs, digest: Digest, { fd, size }: { fd: number; size: number }): ChangedRoot {
  const description = `${original.description} after its commands`;
  const source = descriptorSource(fd, 0, size, digest);
  return { rootfs: treeRootfs(description, stackFiles(source, description).root), close: () => closeSync(fd) };
}
