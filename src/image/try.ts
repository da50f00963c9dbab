import { existsSync } from "node:fs";
import { access, mkdir, readFile, rmdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { planFolder } from "../extension/folder-plan.ts";
import { buildTree, hierarchies } from "../extension/tree.ts";
import { type CommandResult, tryCommand } from "../host/command.ts";
import { withTempFolder } from "../host/temp.ts";
import { currentUser } from "../host/user.ts";
import { stageTree } from "../pack/stage.ts";
import { openHost } from "./host.ts";
import { type OpenedExtension, openExtension } from "./open.ts";
import { releaseName } from "./release-name.ts";

/** Extensions to be merged for the time of one command. */
export interface Trial {
  /** Image files or folders. */
  readonly extensions: readonly string[];
  readonly command: readonly string[];
  /** A host's root folder; this machine's when not given. */
  readonly host?: string;
  /**
   * `sysext`: the real systemd-sysext, which also judges extension-release; root's. `overlay`: the same stack made
   * here, for ordinary users and hosts without systemd. Chosen by what is there when not given.
   */
  readonly method?: "sysext" | "overlay";
  /** The command gets this process's terminal. */
  readonly terminal?: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** All in a mount namespace that ends with the command: no mount and no loop device outlives it. */
const prepare = `set -e
mount --make-rprivate /
host=$1; work=$2; exec 3>"$3"; shift 3
`;

/** systemd-sysext moves its mounts from a child of its own, so they must be shared inside the namespace. */
const bySysext = `${prepare}
mount --make-rshared /
# It works below this machine's /run, and looks below the host's.
mount -t tmpfs tmpfs /run
[ "$host" = / ] || mount -t tmpfs tmpfs "$host/run"
for place in etc/extensions var/lib/extensions; do
  [ ! -d "$host/$place" ] || mount -t tmpfs tmpfs "$host/$place"
done
mkdir -p "$host/run/extensions"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir "$host/run/extensions/$2"; mount --bind "$1" "$host/run/extensions/$2"
  else : >"$host/run/extensions/$2.raw"; mount --bind "$1" "$host/run/extensions/$2.raw"; fi
  shift 2
done
shift
if [ "$host" = / ]; then systemd-sysext merge >&2; else systemd-sysext --root="$host" merge >&2; fi
for place in usr opt; do
  [ "$(stat -f -c %T "$host/$place" 2>/dev/null)" != overlayfs ] || merged=1
done
[ -n "$merged" ] || { echo "systemd-sysext merged nothing: the host refuses the extensions" >&2; exit 1; }
`;

const byOverlay = `${prepare}
for place in usr opt; do
  lower=
  for layer in "$work"/*; do [ ! -d "$layer/$place" ] || lower="$layer/$place:$lower"; done
  [ -z "$lower" ] || { mkdir -p "$host/$place"; mount -t overlay overlay -o "ro,lowerdir=$lower$host/$place" "$host/$place"; }
done
while [ "$1" != -- ]; do shift 2; done
shift
`;

/**
 * What is written to descriptor 3 says that the merge is done and all that follows is the command's. The command takes the
 * shell's place, so that a signal that ends flixwrap ends it, too.
 */
const runIt = `
echo merged >&3; exec 3>&-
[ "$host" != / ] || exec "$@"
exec chroot "$host" "$@"
`;

/**
 * Merges extensions over a host in a private mount namespace, runs the command there, and leaves nothing behind.
 * @throws FlixwrapError `pack-no-image`, `pack-damaged-image`, `pack-try` (the merge was refused), `host-tool-missing`,
 *   `host-tool-timeout`, `interrupted`.
 */
export async function tryExtensions(trial: Trial, context: Context): Promise<CommandResult> {
  const method = trial.method ?? (await chooseMethod(context));
  const host = resolve(trial.host ?? "/");
  openHost(trial.host ?? "/", context);
  return withTempFolder(context, async (work) => {
    const extensions = [];
    await mkdir(join(work, "layers"));
    for (const [at, path] of trial.extensions.entries()) {
      const opened = await openExtension(path, context);
      try {
        const name = releaseName(opened);
        extensions.push(resolve(path), name);
        // The later one lies on top. Layers are numbered: a name that an image brings must not become a part of mount(8)'s options.
        if (method === "overlay") await stage(opened, join(work, "layers", String(at).padStart(4, "0")), context);
      } finally {
        opened.close();
      }
    }
    const script = (method === "sysext" ? bySysext : byOverlay) + runIt;
    const merged = join(work, "merged");
    const args = [host, join(work, "layers"), merged, ...extensions, "--", ...trial.command];
    const asRoot = currentUser().isRoot ? [] : ["--map-root-user"];
    const command = {
      tool: "unshare",
      package: "util-linux",
      purpose: "merge extensions in a namespace of their own",
      args: [...asRoot, "--mount", "--", "sh", "-c", script, "sh", ...args],
      ...(trial.terminal === true ? { inherit: true } : {}),
      ...defined({ timeout: trial.timeout }),
    };
    const places = hierarchies.map((top) => join(host, top));
    const result = await withoutNewFolders(places, () => tryCommand(command, context));
    if ((await readFile(merged, "utf8").catch(() => "")) === "")
      throw new FlixwrapError("pack-try", {
        what: "the extensions cannot be merged",
        where: trial.extensions.join(", "),
        hint: "flixwrap check tells what hosts refuse",
        // Otherwise it was said on the terminal.
        ...(result.stderr === "" ? {} : { items: result.stderr.split("\n").slice(-5) }),
      });
    return result;
  });
}

/** A merge makes the mount points that a host lacks; they go with it. */
async function withoutNewFolders<T>(folders: readonly string[], work: () => Promise<T>): Promise<T> {
  const missing = folders.filter((folder) => !existsSync(folder));
  try {
    return await work();
  } finally {
    for (const folder of missing) await rmdir(folder).catch(() => undefined);
  }
}

async function chooseMethod(context: Context): Promise<"sysext" | "overlay"> {
  if (!currentUser().isRoot) return "overlay";
  for (const folder of (context.env["PATH"] ?? "/usr/bin").split(":"))
    if (
      await access(join(folder, "systemd-sysext")).then(
        () => true,
        () => false,
      )
    )
      return "sysext";
  return "overlay";
}

async function stage({ rootfs }: OpenedExtension, folder: string, context: Context): Promise<void> {
  const plan = planFolder(rootfs);
  const tree = buildTree(plan, { name: "trial", allowSuid: true });
  await stageTree(tree, folder, 0, context, "namespace");
}
