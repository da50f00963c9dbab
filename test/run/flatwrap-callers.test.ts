import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { scratch } from "../support/program.ts";
import { compile, makeRoot, modes, openToAll, type Ran, readReport, runIn, stage, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const tree = join(folder, "tree");
const probe = join(tree, "usr/bin/probe");
const direct = join(folder, "root/usr/bin/probe");
const terminal = join(folder, "terminal");
const work = join(folder, "work");
const isRoot = process.getuid?.() === 0;
const vias = [...new Set(modes.map(({ via }) => via))];

beforeAll(async () => {
  makeRoot(join(folder, "root"));
  compile("terminal", terminal, "-lutil");
  mkdirSync(work);
  chmodSync(work, 0o777);
  await stage(join(folder, "root"), tree, ["/usr/bin/probe"]);
});

const plain = (command: readonly string[]): Ran => runIn({ prefix: [], env: {} }, command);

describe.runIf(isRoot)("under sudo", () => {
  // sudo empties the environment, so what a tree that is not merged needs is given behind it.
  const sudo = (who: string, via: string, program: string): string[] => [
    "sudo",
    "-n",
    "-u",
    who,
    "env",
    `FLATWRAP_ROOT=${tree}`,
    `FLATWRAP_VIA=${via}`,
    "PWD=/tmp",
    program,
  ];

  describe.each(["root", "daemon"])("as %s", (who) => {
    it.each(vias)("by %s: identity and environment are what sudo gives", (via) => {
      const [wrapped, expected] = [probe, direct].map((program) => {
        const { stderr, stdout } = plain(sudo(who, via, program));
        // A machine that does not know its own name is sudo's complaint, not ours.
        expect(stderr.replace(/^sudo: unable to resolve host .*\n/gm, "")).toBe("");
        const { uid, gid, environ, cwd, umask, groups } = readReport(stdout) as ReturnType<typeof readReport> & {
          umask: number;
        };
        // SUDO_COMMAND names the one or the other.
        const given = environ.filter((pair) => !pair.startsWith("SUDO_COMMAND="));
        return { uid, gid, given, cwd, umask, groups: groups.length };
      });
      expect(wrapped).toEqual(expected);
      expect(wrapped!.uid[0]).toBe(who === "root" ? 0 : 1);
      expect(wrapped!.given).toContain("SUDO_UID=0");
    });

    it.each(vias)("by %s: the terminal", (via) => {
      const { stdout } = plain([terminal, "show", ...sudo(who, via, probe)]);
      expect(readReport(stdout.slice(0, stdout.lastIndexOf("}") + 1))).toMatchObject({ tty: 1, rows: 33, columns: 77 });
      expect(stdout).toContain("job exited 0");
    });
  });
});

describe.each(vias)("inside a container without any privilege outside of it, by %s", (via) => {
  const environment = ["env", `FLATWRAP_ROOT=${tree}`, `FLATWRAP_VIA=${via}`];
  const asUser = isRoot ? [`setpriv`, `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"] : [];
  it.each([
    ["whose root is the user", "unshare -U -r -m --pid --fork --mount-proc", 0],
    ["in which it is a user", "bwrap --bind / / --dev /dev --proc /proc --unshare-all", isRoot ? user.uid : undefined],
  ])("%s", (_, container, uid) => {
    const ran = plain([...asUser, ...container.split(" "), ...environment, probe]);
    expect(ran.stderr).toBe("");
    const report = readReport(ran.stdout);
    expect(report.cwd).toBe("/tmp");
    if (uid !== undefined) expect(report.uid).toEqual([uid, uid]);
    const made = plain([...asUser, ...container.split(" "), ...environment, probe, "make", "/usr/x"]);
    expect(made.stdout).toBe("/usr/x EROFS\n");
  });
});

// The limits and the store are this machine's matter, not the container's.
const podman = (...more: string[]): string[] => [
  ...["podman", "--root", join(folder, "store"), "--runroot", join(folder, "run"), "--storage-driver", "vfs", "run"],
  ...["--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"],
  ...[
    "--volume",
    `${folder}:/made:ro`,
    "--env",
    "FLATWRAP_ROOT=/made/tree",
    ...more,
    "--rootfs",
    join(folder, "container"),
  ],
];

function refusal(): string {
  if (!isRoot) return "needs root";
  execFileSync("cp", ["-a", debianRoot(["dash", "coreutils", "util-linux", "mount"]), join(folder, "container")]);
  const { status, stderr } = plain([...podman(), "/bin/true"]);
  return status === 0 ? "" : `podman cannot run containers here: ${stderr.trim()}`;
}
const reason = refusal();

describe.skipIf(reason !== "")(`inside a podman container${reason && `: ${reason}`}`, () => {
  it.each<[string, string[], number]>([
    ["as its root, who may not mount", [], 0],
    ["as its root, who may", ["--privileged"], 0],
    ["as a user", ["--user", `${user.uid}:${user.gid}`], user.uid],
  ])("%s", (_, more, uid) => {
    for (const via of ["", "unshare"]) {
      const ran = plain([...podman(...more, "--env", `FLATWRAP_VIA=${via}`), "/made/tree/usr/bin/probe"]);
      expect(ran.stderr, via).toBe("");
      expect(readReport(ran.stdout), via).toMatchObject({ uid: [uid, uid], cwd: "/" });
    }
  });

  it("says that the starter is refused when nothing else may be used", () => {
    const ran = plain([...podman("--env", "FLATWRAP_VIA=start"), "/made/tree/usr/bin/probe"]);
    expect(ran).toMatchObject({
      status: 126,
      stdout: "",
      stderr: "flatwrap: /usr/bin/probe: no starter for this machine, or the kernel refuses it a namespace\n",
    });
  });
});

describe.each(modes)("without standard files: $name", (mode) => {
  it("still runs", () => {
    const made = join(work, `made by ${mode.name}`);
    const ran = runIn(mode, ["sh", "-c", `${probe} make '${made}' <&- >&- 2>&-; echo $?`], {
      env: { FLATWRAP_ROOT: tree },
    });
    expect(ran).toMatchObject({ stdout: "0\n", stderr: "" });
    expect(existsSync(made), readdirSync(work).join()).toBe(true);
  });
});
