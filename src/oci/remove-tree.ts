import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";

/**
 * Removes whatever stands at a path, also a root folder made in a user namespace, whose files belong to the
 * user's subordinate ids, and folders without write permission. What cannot be removed stays.
 */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // Two ways to be root of one's own: all ids that are ours, or just one, which still may open any folder.
    for (const map of [["--map-auto", "--map-root-user"], ["--map-root-user"]]) {
      const run = spawnSync("unshare", [...map, "rm", "-rf", "--", path], { stdio: "ignore" });
      if (run.status === 0) return;
    }
  }
}
