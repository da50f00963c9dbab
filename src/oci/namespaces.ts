import { readFileSync } from "node:fs";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { runChild } from "./child.ts";
import { currentUser } from "../host/user.ts";

/** How this user can be root of a root folder. */
export interface Privilege {
  /**
   * `root`: really. `mapped`: root of a user namespace with a range of ids (subuid(5)). `single`: of one with a
   * single id, where nothing can belong to anybody else.
   */
  readonly kind: "root" | "mapped" | "single";
  /** Words before a command that make it run so. */
  readonly enter: readonly string[];
}

const ways: readonly Privilege[] = [
  { kind: "mapped", enter: ["unshare", "--map-auto", "--map-root-user", "--"] },
  { kind: "single", enter: ["unshare", "--map-root-user", "--"] },
];

/**
 * The most that this user may do, found by trying: versions and settings tell too little.
 * @throws FlixwrapError `oci-no-namespaces` with the remedy.
 */
export async function findPrivilege(context: Context): Promise<Privilege> {
  if (currentUser().isRoot) return { kind: "root", enter: [] };
  const tried: string[] = [];
  for (const way of ways) {
    const argv = [...way.enter, "true"];
    const { status, complaints } = await runChild(
      { argv, purpose: "run commands inside an image", package: "util-linux" },
      context,
    );
    if (status === 0) return way;
    tried.push(`${argv.join(" ")}: ${complaints.at(-1) ?? `exit status ${status}`}`);
  }
  throw new FlixwrapError("oci-no-namespaces", {
    what: "commands cannot be run inside the image as this user: user namespaces are not allowed",
    hint: remedy(),
    items: tried,
  });
}

function remedy(): string {
  const setting = (name: string): string | undefined => {
    try {
      return readFileSync(`/proc/sys/${name}`, "utf8").trim();
    } catch {
      return undefined;
    }
  };
  if (setting("kernel/apparmor_restrict_unprivileged_userns") === "1") {
    return "set sysctl kernel.apparmor_restrict_unprivileged_userns=0, or use --engine podman, or run as root";
  }
  if (setting("kernel/unprivileged_userns_clone") === "0") {
    return "set sysctl kernel.unprivileged_userns_clone=1, or run as root";
  }
  if (setting("user/max_user_namespaces") === "0") return "set sysctl user.max_user_namespaces, or run as root";
  return "use --engine docker or podman, or run as root";
}
