import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Context } from "../core/context.ts";
import { architectures, findArchitecture, type Architecture } from "../core/architectures.ts";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { machinePlatform } from "./resolve.ts";
import type { Privilege } from "./namespaces.ts";
import type { Rootfs } from "./rootfs.ts";

/**
 * Words before a command that make a root's programs run on this machine. For another processor's, when the
 * host has no emulator registered for them, one is registered in a user namespace of our own, where nobody else
 * sees it (Linux 6.7: binfmt_misc belongs to the user namespace it is mounted in).
 * @throws FlixwrapError `oci-no-emulator`.
 */
export async function emulate(rootfs: Rootfs, privilege: Privilege, context: Context): Promise<readonly string[]> {
  const wanted = architectureOfRoot(rootfs);
  const here = findArchitecture(machinePlatform(undefined).architecture);
  if (wanted === undefined || wanted === here || runsNatively(wanted, here)) return privilege.enter;
  if (isRegistered(wanted)) return privilege.enter;
  const emulator = ["/usr/bin", "/usr/local/bin", "/bin"]
    .flatMap((folder) => [`${folder}/qemu-${wanted.qemu}-static`, `${folder}/qemu-${wanted.qemu}`])
    .find((path) => existsSync(path));
  if (emulator === undefined) {
    throw new FlixwrapError("oci-no-emulator", {
      what: "the image is made for another processor, and there is no emulator for it",
      got: wanted.oci,
      hint: `install qemu-user-static, or run on a machine of that kind`,
    });
  }
  context.emit({ kind: "notice", message: `${wanted.oci} is emulated by ${emulator}` });
  const register = [
    "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 125",
    `printf '%s' '${registration(wanted, emulator)}' > /proc/sys/fs/binfmt_misc/register || exit 125`,
    'exec "$@"',
  ].join("; ");
  if (privilege.kind !== "root") {
    const map = privilege.enter.filter((word) => word.startsWith("--map"));
    return ["unshare", "--user", ...map, "--mount", "--", "/bin/sh", "-c", register, "sh"];
  }
  // root keeps all ids as they are, which unshare cannot ask for: the map is written from outside.
  const wait = `until read -r x < /proc/self/uid_map; do sleep 0.01; done; exec unshare --mount -- /bin/sh -c "$0" sh "$@"`;
  const outside = [
    `unshare --user -- /bin/sh -c '${wait}' "$0" "$@" & p=$!`,
    `for map in uid_map gid_map; do`,
    `until echo 0 0 4294967295 > /proc/$p/$map; do sleep 0.01; kill -0 $p || exit 125; done 2> /dev/null; done`,
    `wait $p`,
  ].join("\n");
  // Everything in there dies with its parent, and so must the parent die with us.
  return ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", outside, register];
}

/** By the ELF header of its shell. */
function architectureOfRoot(rootfs: Rootfs): Architecture | undefined {
  const shell = rootfs.resolve(rootPath("/bin/sh"));
  if (shell?.type !== "file") return undefined;
  const header = Buffer.from(rootfs.open(shell).read(0, 20));
  if (header.length < 20 || header.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const endian = header[5] === 2 ? "big" : "little";
  const machine = endian === "big" ? header.readUInt16BE(18) : header.readUInt16LE(18);
  const bits = header[4] === 1 ? 32 : 64;
  return architectures.find(({ elf }) => elf.machine === machine && elf.bits === bits && elf.endian === endian);
}

const runsNatively = (wanted: Architecture, here: Architecture | undefined): boolean =>
  wanted.oci === "386" && here?.oci === "amd64";

function isRegistered(wanted: Architecture): boolean {
  const folder = "/proc/sys/fs/binfmt_misc";
  try {
    return (
      readdirSync(folder)
        .filter((name) => name.includes(wanted.qemu))
        .map((name) => readFileSync(`${folder}/${name}`, "utf8"))
        // F: the emulator was opened when it was registered; otherwise it would be looked for inside the root.
        .some((text) => text.startsWith("enabled") && /^flags: .*F/m.test(text))
    );
  } catch {
    return false;
  }
}

/** binfmt_misc's line: any ELF program or shared object of the machine; F opens the emulator now. */
function registration({ elf, qemu }: Architecture, emulator: string): string {
  const bytes = (values: readonly number[]): string =>
    values.map((value) => `\\x${value.toString(16).padStart(2, "0")}`).join("");
  const isLittle = elf.endian === "little";
  const u16 = (value: number): number[] => (isLittle ? [value & 0xff, value >> 8] : [value >> 8, value & 0xff]);
  const repeat = (byte: number, count: number): number[] => Array.from({ length: count }, () => byte);
  const ident = [0x7f, 0x45, 0x4c, 0x46, elf.bits === 64 ? 2 : 1, isLittle ? 1 : 2, 1, 0];
  const program = [...ident, ...repeat(0, 8), ...u16(2), ...u16(elf.machine)];
  // ET_EXEC and ET_DYN differ in one bit; the ABI byte may be anything.
  const mask = [...repeat(0xff, 7), 0, ...repeat(0xff, 8), ...u16(0xfffe), ...repeat(0xff, 2)];
  return `:qemu-${qemu}:M::${bytes(program)}:${bytes(mask)}:${emulator}:FCO`;
}
