import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { debianRoot } from "./debian-root.ts";
import { debianSource } from "./debian-source.ts";
import { kept } from "./kept.ts";
import { flixFolder } from "./program.ts";

const applets = "sh cat ls id pwd env sleep unshare nsenter mount".split(" ");
const options =
  `LONG_OPTS SHOW_USAGE BUSYBOX SH_IS_ASH ASH ASH_TEST ASH_ECHO ASH_PRINTF ASH_CMDCMD FEATURE_SH_MATH TEST TEST1
  CAT LS ID PWD ENV SLEEP FANCY_SLEEP FLOAT_DURATION UNSHARE NSENTER MOUNT FEATURE_MOUNT_FLAGS FEATURE_MOUNT_FSTAB
  FEATURE_MOUNT_OTHERTAB`.split(/\s+/);

/** busybox out of Debian's source, for musl and dynamically linked; kept below the temporary folder. */
function muslBusybox(): string {
  const folder = kept("musl-busybox", buildBusybox);
  return join(folder, "busybox");
}

function buildBusybox(build: string): void {
  mkdirSync(build);
  const headers = execFileSync("gcc", ["-print-multiarch"], { encoding: "utf8" }).trim();
  const compiler = `musl-gcc -idirafter /usr/include -idirafter /usr/include/${headers}`;
  const make = (...args: string[]): void =>
    void execFileSync("make", ["-s", "-C", debianSource("busybox"), `O=${build}`, ...args], {
      // What the options bring up in turn is answered with the default.
      input: "\n".repeat(999),
      stdio: ["pipe", "ignore", "ignore"],
    });
  make("allnoconfig");
  const config = join(build, ".config");
  const wanted = new RegExp(`^# CONFIG_(${options.join("|")}) is not set$`, "gm");
  writeFileSync(config, readFileSync(config, "utf8").replace(wanted, "CONFIG_$1=y"));
  make("oldconfig");
  make("-j2", `CC=${compiler}`, "busybox");
}

/** A root that has musl and busybox, and nothing of util-linux: as an image, or as a host. */
export function makeMuslRoot(root: string): void {
  for (const folder of ["usr/bin", "usr/lib", "etc", "proc", "dev", "sys", "run", "tmp", "var", "opt"])
    mkdirSync(join(root, folder), { recursive: true });
  for (const [link, target] of [
    ["bin", "usr/bin"],
    ["lib", "usr/lib"],
    ["sbin", "usr/bin"],
  ] as const)
    symlinkSync(target, join(root, link));
  cpSync(muslBusybox(), join(root, "usr/bin/busybox"));
  const loader = execFileSync("readelf", ["-lW", join(root, "usr/bin/busybox")], { encoding: "utf8" });
  const name = basename(/interpreter: ([^\]]+)/.exec(loader)![1]!);
  const libc = execFileSync("sh", ["-c", "ls /usr/lib/*-linux-musl/libc.so"], { encoding: "utf8" }).trim();
  copyFileSync(libc, join(root, "usr/lib", name));
  chmodSync(join(root, "usr/lib", name), 0o755);
  for (const applet of applets) symlinkSync("busybox", join(root, "usr/bin", applet));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\nsomeone:x:1501:2502::/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nsomegroup:x:2502:\n");
}

/** Debian's bubblewrap as Flix makes it, with its own loader and libraries, so that it runs on any host. */
export function addBubblewrap(host: string): void {
  const root = debianRoot(["dash", "coreutils", "util-linux", "mount", "bubblewrap"]);
  const out = join(host, "bubblewrap");
  const { status, stderr } = flixFolder(out, root, "bwrap", ["--quiet", "/usr/bin/bwrap"]);
  if (status !== 0) throw new Error(stderr);
  cpSync(join(out, "usr"), join(host, "usr"), { recursive: true, verbatimSymlinks: true });
  rmSync(out, { recursive: true });
}
