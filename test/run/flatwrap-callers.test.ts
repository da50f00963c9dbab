import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
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

// Both empty the environment, so what a tree that is not merged needs is given behind them.
const callers: readonly [string, (who: string, command: string) => string[]][] = [
  ["sudo", (who, command) => ["sudo", "-n", "-u", who, "sh", "-c", command]],
  ["sudo -i", (who, command) => ["sudo", "-n", "-u", who, "bash", "-l", "-c", `cd /tmp; ${command}`]],
  ["su", (who, command) => ["su", "-s", "/bin/sh", "-c", command, who]],
  ["su -l", (who, command) => ["su", "-l", "-s", "/bin/sh", "-c", `cd /tmp; ${command}`, who]],
];
const commandOf = (via: string, program: string): string =>
  `FLATWRAP_ROOT=${tree} FLATWRAP_VIA=${via} PWD=/tmp exec ${program}`;

describe.runIf(isRoot).each(callers)("under %s", (caller, through) => {
  describe.each(["root", "daemon"])("as %s", (who) => {
    it.each(vias)("by %s: identity and environment are what it gives", (via) => {
      const [wrapped, expected] = [probe, direct].map((program) => {
        const { stderr, stdout } = plain(through(who, commandOf(via, program)));
        // A machine that does not know its own name is sudo's complaint, not ours.
        expect(stderr.replace(/^sudo: unable to resolve host .*\n/gm, "")).toBe("");
        const { uid, gid, environ, cwd, umask, groups } = readReport(stdout) as ReturnType<typeof readReport> & {
          umask: number;
        };
        // SUDO_COMMAND names the one or the other; bash counts shells and remembers what it started.
        const given = environ.filter((pair) => !/^(SUDO_COMMAND|SHLVL|_)=/.test(pair));
        return { uid, gid, given, cwd, umask, groups: groups.length };
      });
      expect(wrapped).toEqual(expected);
      expect(wrapped!.uid[0]).toBe(who === "root" ? 0 : 1);
      if (caller === "sudo") expect(wrapped!.given).toContain("SUDO_UID=0");
    });

    it.each(vias)("by %s: the terminal", (via) => {
      const { stdout } = plain([terminal, "show", ...through(who, commandOf(via, probe))]);
      expect(readReport(stdout.slice(0, stdout.lastIndexOf("}") + 1))).toMatchObject({ tty: 1, rows: 33, columns: 77 });
      expect(stdout).toContain("job exited 0");
    });
  });
});

describe.runIf(isRoot)("under Debian's cron, which has no terminal", () => {
  const users = ["root", "daemon"];
  const said = (who: string, via: string): string => join(work, `cron ${who} ${via}`);
  beforeAll(async () => {
    const jobs = users.flatMap((who) =>
      vias.map((via) => {
        const file = `'${said(who, via)}'`;
        return `@reboot ${who} cd /tmp && FLATWRAP_VIA=${via} ${probe} >${file}.new 2>&1; mv ${file}.new ${file}`;
      }),
    );
    writeFileSync(join(folder, "crontab"), [`FLATWRAP_ROOT=${tree}`, ...jobs, ""].join("\n"));
    // With tables and a memory of its own, to which every start is the first one since the boot.
    const script = `mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/cron.d && mount -t tmpfs tmpfs /var/spool/cron &&
      mkdir /var/spool/cron/crontabs && mount --bind ${folder}/crontab /etc/crontab && exec cron -f`;
    const isolation = ["--pdeathsig", "KILL", "unshare", "-m", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const cron = spawn("setpriv", [...isolation, "sh", "-c", script], { stdio: "ignore" });
    try {
      const files = users.flatMap((who) => vias.map((via) => said(who, via)));
      await vi.waitFor(() => expect(files.filter((file) => !existsSync(file))).toEqual([]), { timeout: 30_000 });
    } finally {
      // It ends with cron and the jobs' processes; SIGTERM is what unshare --fork ignores.
      cron.kill("SIGKILL");
    }
  }, 60_000);

  describe.each(users)("as %s", (who) => {
    it.each(vias)("by %s", (via) => {
      const text = readFileSync(said(who, via), "latin1");
      expect(text).toMatch(/^\{[^\n]*\}\n$/);
      const id = who === "root" ? 0 : 1;
      expect(readReport(text)).toMatchObject({ uid: [id, id], gid: [id, id], cwd: "/tmp", tty: 0, ttyname: "" });
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
