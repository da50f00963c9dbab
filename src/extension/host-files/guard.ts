import { extPath } from "../../core/paths.ts";
import type { Action } from "../plan.ts";
import { releaseFolder } from "../release.ts";
import { unitFolder } from "../units/names.ts";

/**
 * A service beside the extension's own that stops them when the extension is taken away: an unmerge takes their unit
 * files, so systemd (before 262) lets them run on, and no setting of theirs is left that could stop them. What is left is
 * a process: this one sleeps until the table of mounts changes. A refresh puts the extension back within its second.
 */
export function planGuard(name: string, units: Iterable<string>): Action[] {
  const all = [...units];
  if (all.length === 0) return [];
  const guard = `${name}-guard.service`;
  const release = `${releaseFolder}/extension-release.${name}`;
  // A template's instances are found by a pattern. The time limit is for a change between the look and the wait.
  const stopped = all.map((unit) => unit.replace("@.", "@*.")).join(" ");
  const script = `while [ -e ${release} ]; do findmnt --poll --first-only --timeout 60000 >/dev/null 2>&1; sleep 1; done; systemctl daemon-reload; systemctl stop ${stopped}`;
  const text = `[Unit]
Description=Stops the units of the extension ${name} when it is taken away
StopWhenUnneeded=yes

[Service]
ExecStart=/bin/sh -c '${script}'
`;
  const write = (path: string, content: string, why: string): Action => ({
    kind: "write",
    to: extPath(`${unitFolder}/${path}`),
    content: Buffer.from(content),
    mode: 0o644,
    why,
  });
  return [
    write(guard, text, "stops the units when the extension is taken away"),
    ...all.map((unit) =>
      write(`${unit}.d/10-${name}-guard.conf`, `[Unit]\nWants=${guard}\n`, `${unit} starts ${guard}`),
    ),
  ];
}
