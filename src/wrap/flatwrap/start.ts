import { encodeName } from "../../core/names.ts";
import { rootPath } from "../../core/paths.ts";
import type { RootNode, Rootfs } from "../../oci/rootfs.ts";
import { assembleCalls, type Call, type Operand, type Step, type SystemCall } from "./machine-code.ts";
import { type Mount, planMountSteps } from "./mounts.ts";

/**
 * The programs that show a program its view in one process: `templates/flatwrap-enter.sh` spelled as the system calls that
 * its tools make, since every tool costs a start of its own. Their arguments, as the script gives them:
 *
 *     FALLBACK HOME FOLDER UID-MAP GID-MAP sh PROGRAM ARGUMENT...
 *
 * Where the kernel refuses the namespace, nothing has happened yet, and `sh FALLBACK HOME FOLDER …` goes on.
 */
export interface Starters {
  readonly asRoot: Uint8Array;
  readonly asUser: Uint8Array;
}

const HOME = 2;
const FOLDER = 3;
const UID_MAP = 4;
const GID_MAP = 5;
const PROGRAM = 7;

/** As many bytes as the script's maps have, which end in blanks: two uids of ten digits, a 1, and two blanks. */
const MAP_SIZE = 24;

const CLONE_NEWNS = 0x20000;
const CLONE_NEWUSER = 0x10000000;
const AT_FDCWD = -100;
const O_WRONLY_CLOEXEC = 0o2000001;
const STDERR = 2;
const ENOEXEC = 8;

/** mount(2), by the words of mount(8). */
const mountFlags: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  remount: 0x20,
  bind: 0x1000,
  rbind: 0x5000,
  private: 0x40000,
  "slave,rec": 0x84000,
};

/** The starters for the machine of a root's programs; undefined when there is none for it: the script does without. */
export function assembleStarters(mounts: readonly Mount[], elfMachine: number | undefined): Starters | undefined {
  if (elfMachine === undefined) return undefined;
  const asRoot = assembleCalls([call("unshare", [CLONE_NEWNS], "again"), ...showView(mounts)], elfMachine);
  const identity = [
    call("unshare", [CLONE_NEWNS | CLONE_NEWUSER], "again"),
    ...writeFile("setgroups", text("deny"), 4),
    ...writeFile("uid_map", { argv: UID_MAP }, MAP_SIZE),
    ...writeFile("gid_map", { argv: GID_MAP }, MAP_SIZE),
  ];
  const asUser = assembleCalls([...identity, ...showView(mounts)], elfMachine);
  return asRoot === undefined || asUser === undefined ? undefined : { asRoot, asUser };
}

function showView(mounts: readonly Mount[]): Step[] {
  return [
    mount(undefined, "/", "slave,rec", true),
    call("chdir", [{ argv: HOME }], "failed"),
    ...planMountSteps(mounts).map(({ source, target, options, isVital }) =>
      mount(source, target, options.join(), isVital),
    ),
    // At the root, .. leads to what is mounted over it: not a chroot to the kernel, so user namespaces can be made in it.
    call("chroot", [text("/..")], "failed"),
    call("chdir", [{ argv: FOLDER }], "failed"),
    // A script without #! is the shell's, as execvp(3) has it.
    {
      call: "execve",
      operands: [{ argv: PROGRAM }, { argvFrom: PROGRAM }, "environment"],
      errno: ENOEXEC,
      otherwise: "not started",
    },
    call("execve", [text("/bin/sh"), { argvFrom: PROGRAM - 1 }, "environment"]),
    { label: "not started" },
    ...giveUp("cannot start the program: it, or what it needs to start, is not there or not executable", 127),
    { label: "failed" },
    ...giveUp("cannot show the program its root; FLATWRAP_LOG=FILE has the reasons", 126),
    { label: "again" },
    call("execve", [text("/bin/sh"), { argvFrom: 0 }, "environment"]),
    call("exit_group", [126]),
  ];
}

function giveUp(why: string, status: number): Call[] {
  const line = `flatwrap: ${why}\n`;
  return [call("write", [STDERR, text(line), line.length]), call("exit_group", [status])];
}

const text = (value: string): Operand => ({ text: encodeName(value) });

const call = (name: SystemCall, operands: readonly Operand[], otherwise?: string): Call =>
  otherwise === undefined ? { call: name, operands } : { call: name, operands, otherwise };

function mount(source: string | undefined, target: string, options: string, isVital: boolean): Call {
  const flags = mountFlags[options] ?? options.split(",").reduce((all, word) => all | mountFlags[word]!, 0);
  const operands = [source === undefined ? 0 : text(source), text(target), 0, flags, 0];
  return call("mount", operands, isVital ? "failed" : undefined);
}

const writeFile = (name: string, content: Operand, size: number): Call[] => [
  call("openat", [AT_FDCWD, text(`/proc/self/${name}`), O_WRONLY_CLOEXEC], "failed"),
  call("write", ["result", content, size], "failed"),
];

/** `e_machine` of the first of these that is a 64-bit little-endian ELF file, else of the root's `/bin/sh`. */
export function machineOf(rootfs: Rootfs, programs: readonly RootNode[]): number | undefined {
  const shell = rootfs.resolve(rootPath("/bin/sh"));
  for (const node of [...programs, ...(shell === undefined ? [] : [shell])]) {
    if (node.type !== "file" || node.size < 64) continue;
    const header = Buffer.from(rootfs.open(node).read(0, 20));
    if (header.readUInt32BE(0) === 0x7f454c46 && header.readUInt16BE(4) === 0x0201) return header.readUInt16LE(18);
  }
  return undefined;
}
