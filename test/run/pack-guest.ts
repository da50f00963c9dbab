import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kept } from "../support/kept.ts";

/**
 * A Debian of the given suite with its packages configured, as a folder. It is made once and kept below the
 * temporary folder; tests work on copies.
 */
export function configuredRoot(suite: string, packages: readonly string[]): string {
  const words = ["--quiet", "--variant=minbase", `--include=${packages.join(",")}`, suite];
  return kept(
    `guest-${[suite, ...packages.toSorted()].join("+")}`,
    (at) => void execFileSync("mmdebstrap", [...words, at], { stdio: ["ignore", "ignore", "pipe"] }),
  );
}

/** Debian 13's systemd, 257, with everything that looks at extensions. */
export const systemd257 = (): string =>
  configuredRoot(
    "trixie",
    "systemd systemd-sysv dbus systemd-container systemd-repart erofs-utils squashfs-tools openssl gpg".split(" "),
  );

/** A copy of a root to boot or to run tools in. */
export function copyRoot(root: string): string {
  const copy = mkdtempSync(join(tmpdir(), "flixwrap-copy-"));
  execFileSync("cp", ["-a", "--reflink=auto", `${root}/.`, copy]);
  return copy;
}

/**
 * Boots a root by systemd-nspawn, runs a bash script in it after multi-user.target, powers off, and returns what
 * the script said. Extensions are merged at boot by systemd-sysext.service, as on a host. `more` is added to the
 * command line; guests in which containers shall run need more than others.
 */
export function bootAndRun(root: string, script: string, more: readonly string[] = []): string {
  const system = join(root, "etc/systemd/system");
  writeFileSync(join(root, "probe.sh"), script);
  writeFileSync(
    join(system, "probe.service"),
    "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nStandardOutput=file:/probe.txt\nStandardError=file:/probe.txt\nExecStart=/bin/bash /probe.sh\nExecStopPost=systemctl --no-block poweroff\n",
  );
  for (const [target, unit] of [
    ["multi-user.target.wants", "/etc/systemd/system/probe.service"],
    ["sysinit.target.wants", "/usr/lib/systemd/system/systemd-sysext.service"],
  ] as const) {
    mkdirSync(join(system, target), { recursive: true });
    const link = join(system, target, unit.slice(unit.lastIndexOf("/") + 1));
    rmSync(link, { force: true });
    symlinkSync(unit, link);
  }
  // What an earlier boot said; systemd does not empty the file.
  rmSync(join(root, "probe.txt"), { force: true });
  const loops = makeLoops();
  const run = spawnSync(
    "systemd-nspawn",
    [
      ..."-q --register=no --keep-unit --boot --console=pipe --private-network".split(" "),
      ...["-D", root],
      ...loops.map((device) => `--bind=${device}`),
      ...more,
    ],
    { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 150_000 },
  );
  const probe = join(root, "probe.txt");
  if (!existsSync(probe)) throw new Error(`the guest said nothing: ${run.stdout.slice(-2000)} ${run.stderr}`);
  return readFileSync(probe, "utf8");
}

/** Nodes of loop devices vanish when they are freed, but a container needs them beforehand. */
function makeLoops(): readonly string[] {
  const devices = Array.from({ length: 16 }, (_, at) => `/dev/loop${at}`);
  devices.forEach((device, at) => {
    if (!existsSync(device)) execFileSync("mknod", ["-m660", device, "b", "7", String(at)]);
  });
  return ["/dev/loop-control", ...devices];
}

/** Runs a command in a root with devices, processes and an own /run: systemd's tools without a boot. */
export function runInRoot(
  root: string,
  command: readonly string[],
  timeout = 60_000,
): { status: number | null; output: string } {
  const script = `set -e
mount --rbind /dev "$1/dev"; mount -t proc proc "$1/proc"; mount --rbind /sys "$1/sys"; mount -t tmpfs tmpfs "$1/run"
root=$1; shift; exec chroot "$root" "$@"`;
  const run = spawnSync("unshare", ["--mount", "sh", "-c", script, "sh", root, ...command], {
    encoding: "utf8",
    timeout,
  });
  return { status: run.status, output: `${run.stdout}${run.stderr}` };
}
