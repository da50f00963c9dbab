import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { confine } from "../core/sandbox.ts";
import { tryCommand } from "./command.ts";
import { inheritedDescriptors } from "./descriptors.ts";
import { currentUser } from "./user.ts";

/** How a command runs in {@link runIsolated}. */
export interface Isolation {
  /** `none` (default): only a loopback device of its own. */
  readonly network?: "none" | "host";
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds; 60 000 when not given. */
  readonly timeout?: number;
  /** Folders of the host shown inside, read-only, as `[host folder, place inside]`. */
  readonly binds?: readonly (readonly [string, string])[];
}

/** How the command ended, and the last 64 KiB of what it said. */
export interface IsolatedRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command in a root that holds the folder's `/usr` (and `/opt`) read-only, `/proc`, `/dev`, an empty
 * `/tmp`, and nothing else of the host: no `/lib64`, no `/etc`, no environment. What runs here needs no library
 * of the host. Works as root and as an ordinary user, through bubblewrap; for root, the command runs as nobody in a user
 * namespace where the kernel gives one, and without capabilities everywhere: it is an image's, and not to be trusted.
 * @throws FlixwrapError `host-tool-missing`, `host-tool-timeout`, `interrupted`.
 */
export async function runIsolated(
  folder: string,
  argv: readonly string[],
  isolation: Isolation,
  context: Context,
): Promise<IsolatedRun> {
  const shown: (readonly [string, string])[] = [];
  for (const place of ["/usr", "/opt"])
    if (await isFolder(join(folder, place))) shown.push([join(folder, place), place]);
  const variables = Object.entries({ PATH: "/usr/bin:/usr/sbin:/bin", HOME: "/tmp", ...isolation.env });
  const { options, given } = confine("/proc", inheritedDescriptors());
  return tryCommand(
    {
      tool: "bwrap",
      package: "bubblewrap",
      purpose: "run a command inside the extension",
      timeout: isolation.timeout ?? 60_000,
      given,
      args: [
        "--unshare-ipc --unshare-pid --unshare-uts --die-with-parent --clearenv".split(" "),
        isolation.network === "host" ? [] : ["--unshare-net"],
        currentUser().isRoot && (await hasUserNamespaces()) ? "--unshare-user --uid 65534 --gid 65534".split(" ") : [],
        variables.flatMap(([name, value]) => ["--setenv", name, value]),
        [...shown, ...(isolation.binds ?? [])].flatMap(([from, to]) => ["--ro-bind", from, to]),
        options,
        "--dev /dev --tmpfs /tmp --chdir / --".split(" "),
        argv,
      ].flat(),
    },
    context,
  );
}

/** user_namespaces(7): 0 where an administrator has forbidden them; absent in a kernel without. */
async function hasUserNamespaces(): Promise<boolean> {
  return readFile("/proc/sys/user/max_user_namespaces", "utf8").then(
    (text) => Number(text) > 0,
    () => false,
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
