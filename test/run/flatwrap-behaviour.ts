import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, realpathSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { mountTable } from "../support/mounts.ts";
import { scratch } from "../support/program.ts";
import {
  compile,
  makeRoot,
  type Mode,
  modes,
  openToAll,
  processesOf,
  readReport,
  runIn,
  stage,
  user,
} from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const tree = join(folder, "tree");
const probe = join(tree, "usr/bin/probe");
const direct = join(folder, "root/usr/bin/probe");
const terminal = join(folder, "terminal");
const work = join(folder, "work");
const env = { FLATWRAP_ROOT: tree };

beforeAll(async () => {
  makeRoot(join(folder, "root"));
  compile("terminal", terminal, "-lutil");
  mkdirSync(work);
  chmodSync(work, 0o777);
  await stage(join(folder, "root"), tree, [
    "/usr/bin/probe",
    "/usr/bin/applet",
    "/bin/applet:/usr/bin/other",
    "/usr/bin/script",
  ]);
});

/** What a start must be like, in each of the modes. */
export function describeBehaviour(chosen: readonly Mode[]): void {
  if (chosen.length === 0) it.skip("needs root", () => {});
  describe.each(chosen)("$name", (mode) => {
    const run = (args: readonly string[], options: Parameters<typeof runIn>[2] = {}) =>
      runIn(mode, [probe, ...args], { ...options, env: { ...env, ...options.env } });

    it("(Y01, Y08) starts the program as if it were started directly", () => {
      const odd = [
        "report",
        "",
        " ",
        "a b",
        "'",
        '"',
        "$HOME `id` $(id)",
        "*",
        "-x",
        "--",
        "\\",
        "\n",
        "\t\r",
        "\u00e9\u{1f600}",
      ];
      // Every sh exports PWD, so it is among what is given.
      const surroundings = { LC_ALL: "C", odd: "'\n\"", PWD: "/tmp", FLATWRAP_ROOT: tree };
      const [wrapped, expected] = [
        run(odd, { env: surroundings }),
        runIn(mode, [direct, ...odd], { env: surroundings }),
      ].map((ran) => [ran, readReport(ran.stdout)] as const);
      const [ran, report] = wrapped!;
      expect(ran.stderr).toBe("");
      // bwrap stays as the parent.
      const isExact = mode.via !== "bwrap";
      expect(report).toEqual({
        ...expected![1],
        argv: ["/usr/bin/probe", ...expected![1].argv.slice(1)],
        groups: mode.isUser ? user.groups.map(() => 65534) : [],
        pid: isExact ? ran.pid : report.pid,
        ppid: isExact ? process.pid : ran.pid,
      });
      expect(report.uid).toEqual(mode.isUser ? [user.uid, user.uid] : [0, 0]);
      expect(report.gid).toEqual(mode.isUser ? [user.gid, user.gid] : [0, 0]);
    });

    it("gives an argument of every byte", () => {
      const bytes = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1));
      writeFileSync(join(work, "bytes"), bytes);
      const ran = runIn(
        mode,
        ["bash", "--norc", "-c", `LC_ALL=C; IFS= read -r -d "" x <${work}/bytes; exec ${probe} report "$x"`],
        { env },
      );
      expect(readReport(ran.stdout).argv[2]).toBe(bytes.toString("latin1"));
    });

    it("passes every exit status", () => {
      const loop = `for n in $(seq 0 255); do ${probe} exit $n; [ $? = $n ] || echo "$n is $?"; done`;
      expect(runIn(mode, ["bash", "--norc", "-c", loop], { env })).toMatchObject({ status: 0, stdout: "", stderr: "" });
    });

    it.each([2, 6, 9, 15])("passes death by signal %i", (number) => {
      const { status, signal } = run(["kill", String(number)]);
      const expected = spawnSync("sh", ["-c", `kill -${number} $$`]);
      // bwrap is the parent and can only tell it as a shell does.
      if (mode.via === "bwrap") expect(status).toBe(128 + number);
      else expect(signal).toBe(expected.signal);
    });

    it("passes much of standard input and output, and a closed one", () => {
      const input = Buffer.alloc(5_000_003, "flatwrap\n");
      expect(run(["cat"], { input }).stdout.length).toBe(input.length);
      expect(run(["spam", "1000"]).stdout.length).toBe(65_536_000);
      const closed = runIn(mode, ["sh", "-c", `exec ${probe} report <&- 3</dev/null`], { env });
      const expected = runIn(mode, ["sh", "-c", `exec ${direct} report <&- 3</dev/null`]);
      expect(readReport(closed.stdout).files).toEqual(readReport(expected.stdout).files);
      const broken = runIn(mode, ["bash", "--norc", "-c", `${probe} spam 10000 | head -c 1; echo \${PIPESTATUS[0]}`], {
        env,
      });
      expect(broken.stdout).toBe("x141\n");
    });

    it("keeps umask, ignored signals, and the files it creates are the caller's", () => {
      const made = join(work, `made by ${mode.name}`);
      const ran = runIn(mode, ["sh", "-c", `umask 037; trap '' HUP; ${probe} make '${made}'; exec ${probe} report`], {
        env,
      });
      expect(ran.stdout).toMatch(/ok\n\{/);
      expect(readReport(ran.stdout)).toMatchObject({ umask: 0o37, ignored: [1] });
      const { uid, gid, mode: bits } = statSync(made);
      expect([uid, gid, bits & 0o777]).toEqual(mode.isUser ? [user.uid, user.gid, 0o640] : [0, 0, 0o640]);
    });

    it("(Y08) lets supplementary groups count", () => {
      const secret = join(work, `secret of ${mode.name}`);
      writeFileSync(secret, "x", { mode: 0o640 });
      if (process.getuid?.() === 0) chownSync(secret, 0, user.groups[1]!);
      expect(run(["read", secret]).stdout).toBe(`${secret} ok\n`);
    });

    it("(Y02) has working devices", () => {
      expect(run(["write", "/dev/null", "/dev/full"]).stdout).toBe("/dev/null ok\n/dev/full ok\ncannot write\n");
      expect(run(["read", "/dev/urandom", "/dev/zero"]).stdout).toBe("/dev/urandom ok\n/dev/zero ok\n");
      expect(run(["make", `/dev/shm/flatwrap.${process.pid}.${modes.indexOf(mode)}`]).stdout).toMatch(/ ok\n$/);
      spawnSync("sh", ["-c", `rm -f /dev/shm/flatwrap.${process.pid}.*`]);
      expect(runIn(mode, [terminal, "show", probe, "write", "/dev/tty"], { env }).stdout).toContain("/dev/tty ok");
    });

    it("has the terminal, its size and job control", () => {
      const shown = runIn(mode, [terminal, "show", probe], { env }).stdout;
      expect(readReport(shown.slice(0, shown.lastIndexOf("}") + 1))).toMatchObject({
        tty: 1,
        rows: 33,
        columns: 77,
        ttyname: expect.stringMatching(/^\/dev\/pts\/\d/),
      });
      const stopped = runIn(mode, [terminal, "stop", probe, "sleep", "20"], { env }).stdout;
      expect(stopped.replaceAll("\r", "")).toBe("ready\n^Zjob stopped 20\n^Cjob killed 2\n");
    });

    it("keeps the working folder, whatever its name, also behind a link", () => {
      const odd = join(work, "a b'\n\"$x\n");
      mkdirSync(odd, { recursive: true });
      chmodSync(odd, 0o777);
      expect(readReport(run([], { cwd: odd }).stdout).cwd).toBe(odd);
      const link = join(work, `link ${mode.name}`);
      symlinkSync(odd, link);
      const linked = runIn(mode, ["bash", "--norc", "-c", `cd '${link}' && exec ${probe}`], { env });
      expect(readReport(linked.stdout).cwd).toBe(realpathSync(odd));
      expect(readReport(run([], { cwd: "/" }).stdout).cwd).toBe("/");
      expect(readReport(run([], { cwd: "/usr/bin" }).stdout).cwd).toBe("/usr/bin");
    });

    it.each([
      ["the root has none", "/usr/share/doc", "/usr/share/doc"],
      ["it was deleted", undefined, "the working folder (deleted?)"],
    ])("(Y03) starts in / and says so once when %s", (_, cwd, told) => {
      const gone = join(work, "gone");
      const enter = cwd === undefined ? `mkdir -p ${gone} && cd ${gone} && rmdir ${gone}` : `cd ${cwd}`;
      const ran = runIn(mode, ["bash", "--norc", "-c", `${enter}; exec ${probe}`], { env });
      expect(readReport(ran.stdout).cwd).toBe("/");
      // Shells complain of a deleted folder themselves.
      expect(ran.stderr.split("\n").filter((line) => line.startsWith("flatwrap"))).toEqual([
        `flatwrap: /usr/bin/probe: starts in /, since it does not see ${told}`,
      ]);
    });

    it("(Y12) cannot write anything of the root", () => {
      const places = ["/x", "/usr/x", "/usr/bin/x", "/lib64/x", "/usr/share/probe/x"];
      const refused = /^(\S+ EROFS\n)+$/;
      expect(run(["make", ...places]).stdout).toMatch(refused);
      expect(run(["write", "/usr/bin/probe", "/usr/share/probe/data", "/etc/ld.so.cache"]).stdout).not.toMatch(/ ok/);
    });

    it.each([
      ["applet", "/usr/bin/applet", ["/usr/bin/applet"]],
      ["other", "/bin/applet", ["/bin/applet"]],
      ["script", "/bin/probe", ["/bin/probe", "/usr/bin/script"]],
    ])("(Y05, Y11) runs the entry %s under its own name", (name, _, argv) => {
      const ran = runIn(mode, [join(tree, "usr/bin", name), "x"], { env });
      expect(readReport(ran.stdout).argv).toEqual([...argv, "x"]);
    });

    it("needs neither a terminal nor an environment, as under cron and sudo", () => {
      const bare = runIn(mode, [
        "setsid",
        "env",
        "-i",
        `FLATWRAP_ROOT=${tree}`,
        ...Object.entries(mode.env).map((pair) => pair.join("=")),
        "PATH=/usr/bin:/bin",
        probe,
        "write",
        "/dev/null",
      ]);
      expect(bare).toMatchObject({ stdout: "/dev/null ok\n", stderr: "" });
    });

    // The best of many starts, and again when a neighbour took the processor all the while.
    it("(Y09) starts clearly faster than a wrapper that mounts path by path", { retry: 3 }, () => {
      const view = join(folder, `view ${mode.name}`);
      mkdirSync(view, { recursive: true });
      const reference = [
        new URL("../../bench/reference-flatwrap.sh", import.meta.url).pathname,
        join(folder, "root"),
        view,
      ];
      const times: [number[], number[]] = [[], []];
      for (let round = 0; round < 15; round++) {
        for (const [index, command] of [[probe], [...reference, "/usr/bin/probe"]].entries()) {
          const start = process.hrtime.bigint();
          expect(runIn(mode, [...command, "exit", "0"], { env }).status).toBe(0);
          times[index]!.push(Number(process.hrtime.bigint() - start));
        }
      }
      const [ours, theirs] = times.map((list) => Math.min(...list));
      // setpriv is in both; bench/flatwrap.mjs tells exactly.
      expect(theirs! / ours!).toBeGreaterThan(mode.via === "start" ? 3 : 1.3);
    });

    it("is the process that was started: a signal to it reaches the program, and nothing is left", async () => {
      if (mode.via === "bwrap") return; // which is the parent
      const [tool, ...args] = [...mode.prefix, probe, "sleep", "61"] as const;
      const options = { cwd: "/tmp", env: { PATH: "/usr/bin:/bin", ...env, ...mode.env } };
      const child = spawn(tool, args, { ...options, stdio: ["ignore", "pipe", "inherit"] });
      await once(child.stdout, "data");
      child.kill("SIGTERM");
      const [status, signal] = (await once(child, "exit")) as [number | null, string | null];
      expect({ status, signal }).toEqual({ status: null, signal: "SIGTERM" });
      expect(processesOf("probe\0sleep\x0061")).toEqual([]);
    });

    it("leaves no mount and no process behind, also after kill -9", async () => {
      const mounts = mountTable(folder);
      const [tool, ...args] = [...mode.prefix, probe, "sleep", "60"] as const;
      const child = spawn(tool, args, {
        cwd: "/tmp",
        env: { PATH: "/usr/bin:/bin", ...env, ...mode.env },
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      expect(mountTable(folder)).toBe(mounts);
      // Whoever held the namespaces open has gone by now.
      await vi.waitFor(() => expect(processesOf(`flatwrap\0${child.pid}\0`)).toEqual([]));
      const running = processesOf("probe\0sleep\x0060");
      expect(running.includes(child.pid!)).toBe(true);
      expect(running.length).toBe(mode.via === "bwrap" ? 2 : 1);
      for (const pid of running) process.kill(pid, "SIGKILL");
      await once(child, "close");
      expect(mountTable(folder)).toBe(mounts);
    });
  });
}
