import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { flixwrap, main, scratch, sh } from "../support/program.ts";

/** What surrounds a run: streams that are closed or full, signals, folders that are gone, words that are wrong. */
const work = scratch();
const root = join(work, "root");
sh(`mkdir -p ${root}/usr/bin ${root}/etc && printf '#!data' > ${root}/usr/bin/tool && echo x > ${root}/etc/tool.conf`);
mkdirSync(join(work, "empty"));
writeFileSync(join(work, "text"), "this is no archive\n".repeat(100));
writeFileSync(join(work, "nothing.tar"), "");
sh(
  `tar -C ${root} -cf ${work}/root.tar . && umoci init --layout ${work}/layout && umoci new --image ${work}/layout:v1`,
);
sh(
  `cd ${work}/layout && echo '[]' > manifest.json && tar -cf ../saved.tar manifest.json && tar -cf ../oci.tar oci-layout index.json blobs`,
);
symlinkSync("nowhere", join(work, "link.raw"));
writeFileSync(join(work, "mine.raw"), "mine");

const environment = { PATH: process.env["PATH"], HOME: work, TMPDIR: join(work, "tmp") };
mkdirSync(environment.TMPDIR);
const shell = (command: string) =>
  spawnSync("bash", ["-c", `f() { "${process.execPath}" "${main}" "$@"; }; ${command}`], {
    cwd: work,
    env: environment,
    encoding: "utf8",
  });
/** `sleep` and `sh` come from this machine, the rest of the root is ours. */
const slow = "--run 'sleep 1'";
sh(`cp --parents -L $(ldd /bin/sh /bin/sleep | grep -o '/[^ :]*' | sort -u) ${root} && mkdir -p ${root}/bin`);
sh(`cp -L /bin/sh /bin/sleep ${root}/bin/`);

describe("streams", () => {
  test("a reader of the messages that has seen enough stops no work", () => {
    const { stdout } = shell(`f flix ${slow} dir:root x /usr/bin/tool 2>&1 | head -1; echo "\${PIPESTATUS[0]}"`);
    expect(stdout).toBe("run      sleep 1\n0\n");
    expect(statSync(join(work, "x.raw")).size).toBeGreaterThan(0);
  });

  test("messages that cannot be written stop no work", () => {
    const { stdout, status } = shell(`f flix ${slow} -o full.raw dir:root x /usr/bin/tool 2>/dev/full`);
    expect([status, stdout]).toEqual([0, "full.raw\n"]);
  });

  test.each(["flix --dry-run dir:root x /usr/bin/tool", "elf info /bin/ls", "patchelf --print-needed /bin/ls"])(
    "%s: a result that cannot be written is an error, a reader that has seen enough is none",
    (words) => {
      const full = shell(`f ${words} > /dev/full`);
      expect(full.stderr).toMatch(/: cannot write to standard output: got no space left on the disk\n$/);
      expect(full.status).toBe(1);
      const enough = shell(`f ${words} | true; echo "\${PIPESTATUS[0]}"`);
      expect(enough.stdout).toBe("0\n");
      expect(enough.stderr).not.toMatch(/EPIPE|cannot/);
    },
  );

  test("closed streams are no obstacle", () => {
    expect(shell("f flix -o closed.raw dir:root x /usr/bin/tool <&- >&- 2>&-").status).toBe(0);
    expect(existsSync(join(work, "closed.raw"))).toBe(true);
  });

  test("a terminal is no archive", () => {
    const words = `"${process.execPath}" "${main}" flix - x /usr/bin/tool`;
    // script(1) goes on until its own input ends; what it runs has the terminal all the same.
    const { stdout } = shell(`sleep 2 | script -qec '${words}' /dev/null`);
    expect(stdout).toContain("flix: standard input is a terminal; give it an archive: docker export");
  });

  test.each(["-", "tar:-"])("explain reads %s, too", (reference) => {
    expect(shell(`f explain --json ${reference} /usr/bin/tool < root.tar`)).toMatchObject({ status: 0, stderr: "" });
  });
});

describe("signals", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("%s ends a run that waits for its input, with %i", async (signal, status) => {
    const child = spawn(process.execPath, [main, "flix", "-", "x", "/usr/bin/tool"], { cwd: work, env: environment });
    const errors: Buffer[] = [];
    child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
    // A part of an archive: reading has begun once the pipe is empty again.
    child.stdin.on("error", () => undefined);
    await new Promise((resolve) => child.stdin.write(readFileSync(join(work, "root.tar")), resolve));
    setTimeout(() => child.kill(signal), 1000);
    const ended = await new Promise((resolve) => child.on("close", resolve));
    expect([ended, Buffer.concat(errors).toString()]).toEqual([status, "flix: interrupted\n"]);
    expect(readdirSync(environment.TMPDIR)).toEqual([]);
  });
});

describe("surroundings", () => {
  test("a current folder that is gone", () => {
    for (const words of ["flix dir:/ x /usr/bin/env", "list", "elf info x"]) {
      const { stderr, status } = shell(`mkdir gone && cd gone && rmdir ../gone && f ${words}`);
      expect(stderr).toMatch(/^\w+: the current folder does not exist any more; change to another one\n$/);
      expect(status).toBe(1);
    }
  });

  test("a cache folder where no folder can be made ends, too", () => {
    // Node's own recursive mkdir never comes back from there.
    for (const words of ["flix tar:root.tar x /usr/bin/tool", "bake docker 1"]) {
      const { stderr, status } = shell(`f ${words.replace(" ", " --cache-dir /proc/none ")}`);
      expect(stderr).toMatch(/^\w+: cannot use the cache: \/proc\/none\S*: got no folder can be made there; [^\n]+\n$/);
      expect(status).toBe(1);
    }
  });

  test.runIf(process.getuid?.() === 0)("without HOME, what is kept lies in the user's own folder of passwd", () => {
    const home = sh("getent passwd nobody | cut -d: -f6").trim();
    const { stderr } = shell(
      `env -u HOME setpriv --reuid nobody --clear-groups "${process.execPath}" "${main}" flix tar:root.tar x /no; true`,
    );
    expect(stderr).toContain("flix: ");
    expect(stderr).not.toMatch(/got \/\.cache|: \/\.cache/);
    expect(home).not.toBe("/");
  });

  test.runIf(process.getuid?.() === 0)("a user without a name", () => {
    const user = "setpriv --reuid 54321 --regid 54321 --clear-groups";
    sh(`chmod 755 ${work} && mkdir -p ${work}/nameless && chmod 777 ${work}/nameless`);
    const { stderr, status } = shell(
      `cd nameless && TMPDIR=$PWD ${user} "${process.execPath}" "${main}" pull --cache-dir c tar:../root.tar pulled`,
    );
    expect([status, stderr.replaceAll(/^(notice|warning|image|step).*\n/gm, "")]).toEqual([0, ""]);
    expect(statSync(join(work, "nameless/pulled/usr/bin/tool")).uid).toBe(54321);
  });
});

const tool = "/usr/bin/tool";
describe("wrong words: one line, the right status, and nothing left", () => {
  test.each<[string, string, number, RegExp]>([
    ["no words", "flix", 2, /^flix: missing required argument 'image'; --help lists what is possible$/],
    ["a near option", `flix --jsn dir:root x ${tool}`, 2, /^flix: unknown option '--jsn'; did you mean --json\?$/],
    ["an option without its value", "flix --output", 2, /^flix: option '-o, --output <file>' argument missing; /],
    ["an option with nothing", `flix --output '' dir:root x ${tool}`, 2, /wanted a value, got nothing/],
    ["a list option with nothing", `flix --lib '' dir:root x ${tool}`, 2, /wanted a value, got nothing/],
    ["an unknown command", "flux x", 2, /^flixwrap: unknown command 'flux'; did you mean flix\?$/],
    ["no image", `flix '' x ${tool}`, 1, /^flix: not the name of an image: \(empty\): got no repository$/],
    ["a name with a slash", `flix dir:root a/b ${tool}`, 1, /not a name for an extension: a\/b: got a path/],
    ["no entry", "flix dir:root x ''", 1, /cannot read the entry: got nothing, wanted PATH/],
    ["a relative entry", "flix dir:root x usr/bin/tool", 1, /wanted PATH .*; write \/usr\/bin\/tool$/],
    [
      "a pattern as an entry",
      "flix dir:root x '/usr/bin/t*'",
      1,
      /no such path .*; a PATH is no pattern: name the folder/,
    ],
    ["all of /usr", "flix dir:root x /usr", 1, /got \/usr; name the files and folders below \/usr that are needed$/],
    ["a file of /etc", "flix dir:root x /etc/tool.conf", 1, /; flix takes it by --etc \/etc\/tool\.conf; or write/],
    ["a program outside", `flix dir:root x ${tool}:/srv/tool`, 1, /; write \/usr\/bin\/tool:\/usr\/bin\/tool to place/],
    ["dir: of nothing", `flix dir:none x ${tool}`, 1, /^flix: no such folder: none$/],
    ["dir: of a file", `flix dir:text x ${tool}`, 1, /^flix: not a folder: text$/],
    [
      "oci: of an empty folder",
      `flix oci:empty x ${tool}`,
      1,
      /not an OCI image layout: empty: got it has no file oci-layout; a root/,
    ],
    ["tar: of a text", `flix tar:text x ${tool}`, 1, /^flix: not a tar archive: text: got something else$/],
    [
      "tar: of an empty file",
      `flix tar:nothing.tar x ${tool}`,
      1,
      /^flix: not a tar archive: nothing\.tar: got nothing at all$/,
    ],
    [
      "nothing on standard input",
      `flix - x ${tool} </dev/null`,
      1,
      /^flix: not a tar archive: standard input: got nothing at all$/,
    ],
    [
      "a text on standard input",
      `flix - x ${tool} <text`,
      1,
      /^flix: not a tar archive: standard input: got something else$/,
    ],
    [
      "docker save's as a layout",
      `flix oci-archive:saved.tar x ${tool}`,
      1,
      /; it looks like docker save's: docker-archive:$/,
    ],
    [
      "a layout as docker save's",
      `flix docker-archive:oci.tar x ${tool}`,
      1,
      /; an OCI layout is oci-archive:, a root/,
    ],
    ["a root as a layout", `flix oci-archive:root.tar x ${tool}`, 1, /; a root file system is dir: or tar:$/],
    [
      "credentials without a colon",
      `flix --creds secret localhost:1/x x ${tool}`,
      1,
      /^flix: --creds wants USER:PASSWORD$/,
    ],
    [
      "a folder at the output",
      `flix -o empty dir:root x ${tool}`,
      1,
      /^flix: will not replace .*empty: got a folder; name the file in it/,
    ],
    [
      "a link at the output",
      `flix -o link.raw dir:root x ${tool}`,
      1,
      /^flix: will not replace .*: got a symbolic link; /,
    ],
    [
      "a device at the output",
      `flix -o /dev/null dir:root x ${tool}`,
      1,
      /^flix: will not replace .*: got a device or socket; /,
    ],
    [
      "somebody's file",
      `flix -o mine.raw dir:root x ${tool}`,
      1,
      /^flix: will not replace .*: got a file that is none of ours; /,
    ],
    [
      "no folder for the output",
      `flix -o none/x.raw dir:root x ${tool}`,
      1,
      /^flix: cannot write into the output's folder: .*none: /,
    ],
    [
      "a version with a slash",
      `flix --image-version 1/2 dir:root x ${tool}`,
      2,
      /^flix: not a version for a file name: got 1\/2/,
    ],
    [
      "no folder for a root",
      "pull tar:root.tar none/root",
      1,
      /^pull: cannot write the folder: none\/root: got no folder .*none$/,
    ],
    ["--butane alone", `flix --butane dir:root x ${tool}`, 2, /^flix: --butane needs --update-url$/],
  ])("%s", (_, words, status, message) => {
    const before = sh(`find ${work} -path ${work}/.cache -prune -o -printf '%p %s %T@ %l\\n' | sort`);
    const { stdout, stderr, status: ended } = shell(`f ${words}`);
    const lines = stderr.split("\n").filter((line) => line !== "" && !/^(image|plan) {3,}/.test(line));
    expect(lines).toEqual([expect.stringMatching(message)]);
    expect([ended, stdout]).toEqual([status, ""]);
    expect(sh(`find ${work} -path ${work}/.cache -prune -o -printf '%p %s %T@ %l\\n' | sort`)).toBe(before);
  });
});

test.each([
  ["flix --json --jsn dir:root x /usr/bin/tool", 2],
  ["flix --json --format zip dir:root x /usr/bin/tool", 2],
  ["flix --json dir:root x /usr/bin/none", 1],
  ["cache list --json x", 2],
])("%s: every line of an error is JSON, and standard output stays empty", (words, status) => {
  const told = shell(`f ${words}`);
  const events = told.stderr
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(events.at(-1)).toMatchObject({ kind: "error", what: expect.any(String) });
  expect([told.status, told.stdout]).toEqual([status, ""]);
});

test("every refusal of the program itself is one line", () => {
  for (const words of [["elf", "info"], ["recipe", "new"], ["pull", "x"], ["--no-such"], ["cache", "list", "x"]]) {
    const { stderr, status } = flixwrap(words);
    expect(stderr.split("\n")).toHaveLength(2);
    expect(status).toBe(2);
  }
});
