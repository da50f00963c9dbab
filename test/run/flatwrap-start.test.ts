import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { rootPath } from "../../src/core/paths.ts";
import { assembleCalls } from "../../src/wrap/flatwrap/machine-code.ts";
import type { Mount } from "../../src/wrap/flatwrap/mounts.ts";
import { assembleStarters } from "../../src/wrap/flatwrap/start.ts";
import { scratch, sh } from "../support/program.ts";
import { compile, openToAll, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const mounts: readonly Mount[] = [
  { inside: rootPath("/tmp"), host: "/tmp", type: "folder", writable: true, required: false },
  { inside: rootPath("/a b"), host: "/no such", type: "folder", writable: false, required: false },
];
/** Independent readers of what a program asks the kernel: natively, and of another machine's program. */
const machines = [
  { name: "x86-64", elf: 62, read: ["strace", "-qq", "-o"] },
  { name: "arm64", elf: 183, read: ["qemu-aarch64-static", "-strace", "-D"] },
];

/** `name(operands)` per call, with the numbers that qemu has no words for as strace names them. */
function callsOf(text: string): string[] {
  const words: readonly [RegExp, string][] = [
    [/MS_BIND\|0x4000/, "MS_BIND|MS_REC"],
    [/0x84000/, "MS_REC|MS_SLAVE"],
    [/0x40000/, "MS_PRIVATE"],
  ];
  return [...text.matchAll(/^(?:\d+ +)?((?:unshare|mount|chdir|chroot|openat|write)\(.*?\)) +=/gm)].map(([, call]) => {
    const [name, flags] = /^(mount.*?,)((?:MS_\w+\|?|0x\w+\|?)+)/.exec(call!.replaceAll(", ", ","))?.slice(1) ?? [
      call!,
      "",
    ];
    const known = words.reduce((all, [number, word]) => all.replace(number, word), flags!);
    return name! + known.split("|").toSorted().join("|");
  });
}

function start(elf: number, who: "asRoot" | "asUser"): string {
  const file = join(folder, `${who}-${elf}`);
  writeFileSync(file, assembleStarters(mounts, elf)![who], { mode: 0o755 });
  return file;
}

/** Runs a command under a reader that writes to the file named behind its own words. */
function trace(reader: readonly string[], command: readonly string[]) {
  const file = join(mkdtempSync(join(folder, "trace-")), "calls");
  chmodSync(dirname(file), 0o777);
  const [tool, ...rest] = [...reader, file, ...command];
  const { status, stderr } = spawnSync(tool!, rest, { encoding: "utf8" });
  return { status, stderr, calls: callsOf(readFileSync(file, "utf8")) };
}

const refuse = join(folder, "refuse");
compile("refuse", refuse);
const home = join(folder, "home");
mkdirSync(join(home, "root/tmp"), { recursive: true });
mkdirSync(join(home, "root/usr"));
const map = (id: number): string => `${id} ${id} 1${" ".repeat(20)}`;
// The view has no program in it, so it all ends with the shell's refusal and then the starter's own.
const args = ["/nowhere", home, "/tmp", map(user.uid), map(user.gid), "sh", "/usr/bin/nothing"];
const seal = "MS_BIND|MS_NODEV|MS_NOSUID|MS_RDONLY|MS_REMOUNT";
const view = [
  'mount(NULL,"/",NULL,MS_REC|MS_SLAVE',
  `chdir("${home}")`,
  'mount("./root","./root",NULL,MS_BIND',
  'mount(NULL,"./root",NULL,MS_PRIVATE',
  `mount(NULL,"./root",NULL,${seal}`,
  'mount("/tmp","./root/tmp",NULL,MS_BIND|MS_REC',
  'mount("/no such","./root/a b",NULL,MS_BIND|MS_REC',
  `mount(NULL,"./root/a b",NULL,${seal.replace("MS_NOSUID", "MS_NOEXEC|MS_NOSUID")}`,
  `mount(NULL,"./root/a b",NULL,${seal}`,
  'mount("./root","/.",NULL,MS_BIND|MS_REC',
  'chroot("/..")',
  'chdir("/tmp")',
];

describe.each(machines)("the starters for $name", ({ elf, read }) => {
  it("make the calls of the mount table, and end with one line when the program is not there", () => {
    if (process.getuid?.() !== 0) return;
    const { status, stderr, calls } = trace(read, [start(elf, "asRoot"), ...args]);
    expect(calls[0]).toMatch(/^unshare\(CLONE_NEWNS\)/);
    expect(calls.slice(1, -1)).toEqual(view);
    expect(calls.at(-1)).toMatch(/^write\(2,/);
    expect(stderr).toMatch(/^flatwrap: cannot start the program: [^\n]+\n$/);
    expect(status).toBe(127);
  });

  it("pass the results, arguments and environment on", () => {
    const goal = join(folder, `goal-${elf}`);
    const name = { text: Buffer.from(goal) };
    const file = assembleCalls(
      [
        { call: "openat", operands: [-100, name, 0o1101, 0o644], otherwise: "end" },
        { call: "write", operands: ["result", { argv: 1 }, 3], otherwise: "end" },
        { call: "chdir", operands: [{ text: Buffer.from("/no such") }], otherwise: "end", errno: 2 },
        { call: "chdir", operands: [{ text: Buffer.from("/no such") }], otherwise: "on", errno: 3 },
        { call: "exit_group", operands: [1] },
        { label: "on" },
        { call: "chdir", operands: [{ text: Buffer.from("/no such") }], otherwise: "run" },
        { call: "exit_group", operands: [1] },
        { label: "run" },
        { call: "execve", operands: [{ argv: 2 }, { argvFrom: 2 }, "environment"] },
        { label: "end" },
        { call: "exit_group", operands: [2] },
      ],
      elf,
    );
    const made = join(folder, `calls-${elf}`);
    writeFileSync(made, file!, { mode: 0o755 });
    const prefix = elf === 62 ? [] : ["qemu-aarch64-static"];
    const [tool, ...rest] = [...prefix, made, "abcdef", "/usr/bin/env", "--", "printenv", "x", "y"];
    const { status, stdout } = spawnSync(tool, rest, { encoding: "utf8", env: { x: "1 2", y: "3" } });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "1 2\n3\n" });
    expect(readFileSync(goal, "latin1")).toBe("abc");
  });

  it("say so when the view cannot be made", () => {
    if (process.getuid?.() !== 0) return;
    const { status, stderr, calls } = trace(read, [start(elf, "asRoot"), args[0]!, "/nowhere", ...args.slice(2)]);
    expect(calls.slice(1, -1)).toEqual([view[0], 'chdir("/nowhere")']);
    expect(stderr).toBe("flatwrap: cannot show the program its root; FLATWRAP_LOG=FILE has the reasons\n");
    expect(status).toBe(126);
  });

  it("are files that readelf has nothing to say against, without an executable stack", () => {
    const headers = sh(`readelf -hlW ${start(elf, "asUser")} 2>&1`);
    expect(headers).not.toMatch(/warning|error/i);
    expect(headers).toMatch(/LOAD .* R E 0x10000\n +GNU_STACK .* RW /);
  });
});

it.each(machines)("give the caller its own identity before anything else, as a user, for $name", ({ elf, read }) => {
  const prefix =
    process.getuid?.() === 0 ? ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"] : [];
  // qemu has a second thread, which no process may have that makes a user namespace (unshare(2), EINVAL): the starter
  // begins in one that is as if it had just been made, and is told that it made it.
  const fresh = elf === 62 ? [] : ["unshare", "-U", "-m", "--keep-caps", refuse, "unshare=0", "--"];
  const { calls } = trace([...prefix, ...fresh, ...read], [start(elf, "asUser"), ...args]);
  // Which of the two stands first is the reader's choice; what is written, qemu gives by its address.
  expect(calls[0]).toMatch(/^unshare\((CLONE_NEWNS|CLONE_NEWUSER|\|){3}\)$/);
  const proc = (name: string): unknown =>
    expect.stringMatching(`^openat\\((AT_FDCWD|-100),"/proc/self/${name}",O_WRONLY\\|O_CLOEXEC\\)$`);
  const written = (content: string): unknown => {
    const quoted = JSON.stringify(content);
    return expect.stringMatching(`^write\\(\\d,(${quoted}|0x[0-9a-f]+),${content.length}\\)$`);
  };
  expect(calls.slice(1, 7).map((call) => call.replaceAll(", ", ","))).toEqual([
    proc("setgroups"),
    written("deny"),
    proc("uid_map"),
    written(map(user.uid).slice(0, 24)),
    proc("gid_map"),
    written(map(user.gid).slice(0, 24)),
  ]);
  expect(calls.slice(7, -1)).toEqual(view);
});

it("are not made for machines without a row, and for tables that no branch reaches over", () => {
  expect(assembleStarters(mounts, 22)).toBeUndefined();
  expect(assembleStarters(mounts, undefined)).toBeUndefined();
  expect(
    assembleStarters(
      Array.from({ length: 1000 }, () => mounts[0]!),
      183,
    ),
  ).toBeUndefined();
});
