import { type ExtPath, extPath, isWithin } from "../../core/paths.ts";
import type { Action } from "../plan.ts";
import { unitKind } from "../units/names.ts";
import { planCompanion } from "./companion.ts";

/** Daemons that have read their folders before a merge on a running host: where their files stand, and what tells them. */
const readers: readonly { readonly folders: readonly ExtPath[]; readonly command: string }[] = [
  { folders: [extPath("/usr/lib/udev/rules.d")], command: "/usr/bin/udevadm control --reload" },
  {
    // dbus-daemon watches folders that the merge has covered (systemd#41662).
    folders: ["system.d", "system-services"].map((one) => extPath(`/usr/share/dbus-1/${one}`)),
    command: "/usr/bin/busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig",
  },
];

/**
 * A oneshot service that applies the extension's own sysusers.d and tmpfiles.d files, required by each of its
 * services: at boot systemd applies them by itself, but a merge on a running host applies nothing. It tells udev and
 * the bus of what `files` has for them; a host without them does without.
 */
export function planSetup(
  name: string,
  units: Iterable<string>,
  files: readonly ExtPath[],
  { hasUsers, hasFiles }: { readonly hasUsers: boolean; readonly hasFiles: boolean },
): Action[] {
  const services = [...units].filter((unit) => unitKind(unit) === "service");
  const told = readers.filter(({ folders }) => files.some((file) => folders.some((folder) => isWithin(file, folder))));
  if (services.length === 0 || (!hasUsers && !hasFiles && told.length === 0)) return [];
  const setup = `${name}-setup.service`;
  const commands = [
    hasUsers ? `ExecStart=/usr/bin/systemd-sysusers ${name}.conf\n` : "",
    hasFiles ? `ExecStart=/usr/bin/systemd-tmpfiles --create ${name}.conf\n` : "",
    ...told.map(({ command }) => `ExecStart=-${command}\n`),
  ].join("");
  // Without RemainAfterExit= it runs again with the next start of a service: after a refresh, for a newer version.
  // Without a limit: a service that fails again and again shall fail for its own reason, and alone.
  const text = `[Unit]\nDescription=Users and files of the extension ${name}\nStartLimitIntervalSec=0\n\n[Service]\nType=oneshot\n${commands}`;
  return planCompanion(name, "setup", services, {
    text,
    why: "users, files and folders on the host, also on a live merge",
    ties: `Requires=${setup}\nAfter=${setup}\n`,
    verb: "waits for",
  });
}
