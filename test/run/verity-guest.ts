import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianRoot } from "../support/debian-root.ts";

/** In the order in which they need each other: nothing in the guest knows dependencies. */
const modules =
  "block/loop md/dm-mod md/dm-bufio reed_solomon/reed_solomon md/dm-verity lib/libcrc32c squashfs/squashfs erofs/erofs overlayfs/overlay".split(
    " ",
  );

/** An image to be merged in the guest as `foo.raw`, and what the guest reads of it afterwards. */
export interface VerityCase {
  readonly name: string;
  readonly image: string;
  /** What systemd-sysext is told to insist on: `root=signed`. */
  readonly policy: string;
  /** The root hash that the administrator gives, for images without a signature. */
  readonly rootHash?: string;
}

/** What became of one: `refused`, `unreadable`, or the hash of the file read. */
export type VerityOutcome = string;

/**
 * Boots a kernel that has dm-verity (Debian 12's for clouds, which qemu emulates in seconds) with systemd 257's udev and
 * systemd-sysext in its memory and nothing else; merges each image and reads a file of it.
 */
export function mergeWithVerity(
  cases: readonly VerityCase[],
  certificate: string,
  file: string,
): ReadonlyMap<string, VerityOutcome> {
  const kernel = debianRoot(["linux-image-cloud-amd64"], { suite: "bookworm" });
  const system = debianRoot(["systemd", "udev", "libcryptsetup12", "dmsetup", "busybox-static"], { suite: "trixie" });
  const folder = mkdtempSync(join(tmpdir(), "verity-guest-"));
  try {
    const root = join(folder, "root");
    execFileSync("cp", ["-a", "--reflink=auto", system, root]);
    for (const place of ["usr/share", "var", "usr/lib/udev/hwdb.d"])
      rmSync(join(root, place), { recursive: true, force: true });
    for (const place of "proc sys dev run tmp modules images etc/verity.d".split(" "))
      mkdirSync(join(root, place), { recursive: true });
    execFileSync("sh", ["-c", 'for d in bin sbin lib lib64; do [ -e "$d" ] || ln -s "usr/$d" "$d"; done'], {
      cwd: root,
    });
    writeFileSync(join(root, "usr/lib/os-release"), "ID=guest\nVERSION_ID=1\n");
    copyFileSync(certificate, join(root, "etc/verity.d/tester.crt"));
    for (const name of modules) {
      const found = execFileSync("find", [join(kernel, "lib/modules"), "-path", `*/${name}.ko`], { encoding: "utf8" });
      copyFileSync(found.trim(), join(root, "modules", `${name.split("/")[1]!}.ko`));
    }
    for (const { name, image } of cases) copyFileSync(image, join(root, "images", name));
    writeFileSync(join(root, "init"), guestScript(cases, file));
    chmodSync(join(root, "init"), 0o755);
    const initrd = join(folder, "initrd");
    execFileSync("sh", ["-c", 'find . | busybox cpio -o -H newc >"$1" 2>/dev/null', "sh", initrd], { cwd: root });
    const image = readdirSync(join(kernel, "boot")).find((name) => name.startsWith("vmlinuz-"))!;
    const run = spawnSync(
      "qemu-system-x86_64",
      [
        ..."-accel tcg -cpu max -m 768 -smp 1 -nographic -no-reboot -nic none".split(" "),
        ...["-kernel", join(kernel, "boot", image), "-initrd", initrd],
        ...["-append", "console=ttyS0 quiet loglevel=1 panic=-1"],
      ],
      { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 240_000 },
    );
    const told = [...run.stdout.matchAll(/^RESULT (\S+) (\S+)/gm)];
    if (told.length !== cases.length) throw new Error(`the guest said: ${run.stdout.slice(-3000)} ${run.stderr}`);
    return new Map(told.map((match) => [match[1]!, match[2]!]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function guestScript(cases: readonly VerityCase[], file: string): string {
  const trials = cases.map(
    ({ name, policy, rootHash = "" }) => `trial ${name} ${policy} ${rootHash}
`,
  );
  return `#!/usr/bin/busybox sh
export PATH=/usr/bin:/usr/sbin:/usr/lib/systemd
b() { busybox "$@"; }
b mount -t proc proc /proc; b mount -t sysfs sys /sys; b mount -t devtmpfs dev /dev
b mount -t tmpfs run /run; b mount -t tmpfs tmp /tmp
# systemd-sysext moves its mounts from a child of its own.
b mount --make-rshared /
for name in ${modules.map((name) => name.split("/")[1]).join(" ")}; do b insmod /modules/$name.ko; done
systemd-udevd --daemon; udevadm settle
b mkdir -p /run/extensions
trial() {
  b cp /images/$1 /run/extensions/foo.raw
  b rm -f /run/extensions/foo.roothash
  [ -z "$3" ] || echo $3 >/run/extensions/foo.roothash
  outcome=refused
  if systemd-sysext --image-policy=$2 merge; then
    sum=$(b sha256sum ${file}) && outcome=\${sum%% *} || outcome=unreadable
    systemd-sysext unmerge; udevadm settle
  fi
  echo; echo "RESULT $1 $outcome"
}
${trials.join("")}b poweroff -f
`;
}
