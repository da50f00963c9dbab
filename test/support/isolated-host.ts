import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debianRoot } from "./debian-root.ts";
import type { Ended } from "./program.ts";

/** A made-up immutable host: a root folder that extensions are laid over and commands run in. */
export interface Host {
  readonly root: string;
  /** Runs a command in the host's root with the extensions' trees on top of its /usr; no network. */
  run(argv: readonly string[], options?: HostRun): Ended;
}

interface HostRun {
  readonly env?: Readonly<Record<string, string>>;
  /** Folders shown inside at the same path, writable. */
  readonly shared?: readonly string[];
  /** Words before the command, run outside of the host: `strace …`. */
  readonly prefix?: readonly string[];
}

/** No host at all: where an extension is laid, there is nothing but its own files, /proc, /dev and /tmp. */
export function bareHost(root: string): Host {
  for (const folder of ["proc", "dev", "tmp", "usr"]) mkdirSync(join(root, folder), { recursive: true });
  return hostAt(root);
}

/** A host without any library: static busybox in /usr/bin with all its applets, nothing else. */
export function busyboxHost(root: string): Host {
  for (const folder of ["etc", "proc", "dev", "tmp", "run", "usr/bin", "usr/lib"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  symlinkSync("usr/lib", join(root, "lib"));
  symlinkSync("usr/lib", join(root, "lib64"));
  symlinkSync("bin", join(root, "usr/sbin"));
  return furnish(root);
}

/** A {@link busyboxHost} whose C library is musl: Debian's, at the place every musl program looks for it. */
export function muslHost(root: string): Host {
  const host = busyboxHost(root);
  const musl = execFileSync("bash", ["-c", "ls /usr/lib/*-linux-musl/libc.so"], { encoding: "utf8" }).trim();
  cpSync(musl, join(root, "usr/lib", `ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`));
  return host;
}

/** A host with the C library of another Debian release. */
export function glibcHost(root: string, suite: string): Host {
  execFileSync("cp", ["-a", debianRoot(["libc6", "libgcc-s1", "libssl3t64", "zlib1g"], { suite }), root]);
  return furnish(root);
}

/** busybox and the few files that programs look at. */
function furnish(root: string): Host {
  mkdirSync(join(root, "usr/bin"), { recursive: true });
  if (!existsSync(join(root, "bin"))) symlinkSync("usr/bin", join(root, "bin"));
  cpSync("/bin/busybox", join(root, "usr/bin/busybox"));
  const applets = execFileSync("/bin/busybox", ["--list"], { encoding: "utf8" }).trim().split("\n");
  for (const applet of applets.filter((name) => !name.startsWith("busybox"))) {
    symlinkSync("busybox", join(root, "usr/bin", applet));
  }
  writeFileSync(join(root, "etc/os-release"), "ID=testhost\n");
  const users = ["root:x:0:0:root:/tmp:/bin/sh", "daemon:x:1501:2502::/tmp:/bin/sh", "nobody:x:65534:65534::/:/bin/sh"];
  writeFileSync(join(root, "etc/passwd"), `${users.join("\n")}\n`);
  writeFileSync(join(root, "etc/group"), "root:x:0:\ndaemon:x:2502:\nnogroup:x:65534:\n");
  writeFileSync(join(root, "etc/hosts"), "127.0.0.1 localhost testhost\n");
  return hostAt(root);
}

/** Lays a staged extension (a folder with usr/) over the host's own files, as the merge would; by hard links. */
export function merge(host: Host, extension: string): void {
  execFileSync("cp", ["-alf", "--", `${join(extension, "usr")}/.`, join(host.root, "usr")]);
  if (existsSync(join(extension, "opt"))) execFileSync("cp", ["-al", "--", join(extension, "opt"), host.root]);
}

function hostAt(root: string): Host {
  return {
    root,
    run(argv, { env = {}, shared = [], prefix = [] } = {}) {
      const isolation = [
        ...["bwrap", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-net"],
        ...shared.flatMap((folder) => ["--bind", folder, folder]),
        ...["--clearenv", "--setenv", "PATH", "/usr/bin"],
        ...Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
        "--",
        ...argv,
      ];
      const [command, ...args] = [...prefix, ...isolation];
      const { status, stdout, stderr } = spawnSync(command!, args, { encoding: "utf8", maxBuffer: 1 << 28 });
      return { status, stdout, stderr };
    },
  };
}
