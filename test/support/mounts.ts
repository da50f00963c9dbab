import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";

/**
 * This machine's mounts, without those that other tests and programs have in temporary folders of their own: a leak
 * of the test that works in `own` shows, the neighbour's loop mount does not.
 */
export function mountTable(own: string): string {
  const isForeign = (point: string): boolean => point.startsWith(`${tmpdir()}/`) && !point.startsWith(own);
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => !isForeign(line.split(" ")[4] ?? "")).join("\n");
}

/** The loop devices over files in `own`. */
export const loopDevices = (own: string): string =>
  execFileSync("losetup", ["-a"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(own))
    .join("\n");
