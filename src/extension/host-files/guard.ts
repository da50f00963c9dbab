import type { Action } from "../plan.ts";
import { releaseFolder } from "../release.ts";
import { planCompanion } from "./companion.ts";

/**
 * A service beside the extension's own that stops them when the extension is taken away: an unmerge takes their unit
 * files, so systemd (before 262) lets them run on, and no setting of theirs is left that could stop them. What is left is
 * a process: this one sleeps until the table of mounts changes. A refresh puts the extension back within its second.
 */
export function planGuard(name: string, units: Iterable<string>): Action[] {
  const all = [...units];
  if (all.length === 0) return [];
  const release = `${releaseFolder}/extension-release.${name}`;
  // A template's instances are found by a pattern. The time limit is for a change that comes after `[ -e ]` and before findmnt.
  const stopped = all.map((unit) => unit.replace("@.", "@*.")).join(" ");
  const script = `while [ -e ${release} ]; do findmnt --poll --first-only --timeout 60000 >/dev/null 2>&1; sleep 1; done; systemctl daemon-reload; systemctl stop ${stopped}`;
  const text = `[Unit]
Description=Stops the units of the extension ${name} when it is taken away
StopWhenUnneeded=yes

[Service]
ExecStart=/bin/sh -c '${script}'
`;
  return planCompanion(name, "guard", all, {
    text,
    why: "stops the units when the extension is taken away",
    ties: `Wants=${name}-guard.service\n`,
    verb: "starts",
  });
}
