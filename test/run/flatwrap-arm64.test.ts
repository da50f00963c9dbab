import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { beforeAll, describe, expect, it } from "vitest";
import { scratch } from "../support/program.ts";
import { compile, openToAll, readReport, stage, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const root = join(folder, "root");
const tree = join(folder, "tree");
const home = join(tree, "usr/lib/flixwrap/probe");
const refuse = join(folder, "refuse");
const asUser = `setpriv --reuid=${user.uid} --regid=${user.gid} --clear-groups`;

/**
 * Runs a script as a machine would on which arm64 programs run: in a user namespace whose kernel starts them by
 * qemu (its own binfmt_misc since Linux 6.7, so that this machine's is not touched). The uids are the same inside.
 */
async function onArm64(script: string): Promise<{ status: number; stdout: string; stderr: string }> {
  const words = ["-U", "-m", "sh", "-c", `echo; read -r _ && exec sh -c "$1"`, "sh", `${binfmt}\n${script}`];
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", FLATWRAP_ROOT: tree };
  const child = spawn("unshare", words, { cwd: "/tmp", env });
  await once(child.stdout, "data");
  for (const map of ["uid_map", "gid_map"]) writeFileSync(`/proc/${child.pid}/${map}`, "0 0 65536");
  child.stdin.end("\n");
  const ended = once(child, "close") as Promise<[number]>;
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { status, stdout, stderr };
}

/** ELF, 64 bits, little-endian, EXEC or DYN, machine 183 (gABI); F: qemu is opened now, as no root has it. */
const magic = String.raw`\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00`;
const mask = String.raw`\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff`;
const binfmt = `mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
  printf ':arm64:M::${magic}:${mask}:/usr/bin/qemu-aarch64-static:F' >/proc/sys/fs/binfmt_misc/register || exit 99`;

async function refusal(): Promise<string> {
  if (process.getuid?.() !== 0) return "needs root";
  const { status, stderr } = await onArm64("");
  return status === 0 ? "" : `this kernel has no binfmt_misc in user namespaces: ${stderr.trim()}`;
}
const reason = await refusal();

describe.skipIf(reason !== "")(`an arm64 program, from its wrapper to its end${reason && `: ${reason}`}`, () => {
  beforeAll(async () => {
    for (const place of ["usr/bin", "etc", "tmp", "home"]) mkdirSync(join(root, place), { recursive: true });
    const source = new URL("flatwrap-probe.c", import.meta.url).pathname;
    execFileSync("aarch64-linux-gnu-gcc", ["-static", "-O1", "-o", join(root, "usr/bin/probe"), source]);
    symlinkSync("usr/bin", join(root, "bin"));
    compile("refuse", refuse);
    await stage(root, tree, ["/usr/bin/probe"]);
  });

  const whole = `${tree}/usr/bin/probe`;
  const map = (id: number): string => `'${id} ${id} 1${" ".repeat(20)}'`;
  // qemu has a thread of its own, so the kernel refuses it a user namespace (unshare(2), EINVAL). So the starter for users
  // begins in one that is as if it had just been made, and is told that it made it.
  const starter = `unshare -U -m --keep-caps ${refuse} unshare=0 -- ${home}/start-as-user /nowhere ${home} /tmp ${map(user.uid)} ${map(user.gid)} sh /usr/bin/probe`;
  it.each([
    ["root, start", "env FLATWRAP_VIA=start", whole, 0, 0],
    ["root, unshare", "env FLATWRAP_VIA=unshare", whole, 0, 0],
    ["root, bwrap", "env FLATWRAP_VIA=bwrap", whole, 0, 0],
    ["user, start", asUser, starter, user.uid, user.gid],
    ["user, start refused, so unshare", `${asUser} env NOBWRAP=1`, whole, user.uid, user.gid],
    ["user, unshare", `${asUser} env FLATWRAP_VIA=unshare`, whole, user.uid, user.gid],
    ["user, bwrap", `${asUser} env FLATWRAP_VIA=bwrap`, whole, user.uid, user.gid],
  ])("%s", async (_, prefix, command, uid, gid) => {
    const script = `${prefix} ${command} report 'a  b' ''; ${prefix} ${command} make /usr/x; ${prefix} ${command} exit 7; echo $?`;
    const { stdout, stderr } = await onArm64(script);
    expect(stderr).toBe("");
    const [report, ...rest] = stdout.trim().split("\n");
    expect(readReport(report!)).toMatchObject({
      argv: ["/usr/bin/probe", "report", "a  b", ""],
      uid: [uid, uid],
      gid: [gid, gid],
      cwd: "/tmp",
    });
    expect(rest).toEqual(["/usr/x EROFS", "7"]);
  });
});
