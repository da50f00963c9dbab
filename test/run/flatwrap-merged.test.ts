import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { mountTable } from "../support/mounts.ts";
import { scratch } from "../support/program.ts";
import { makeMuslRoot } from "../support/musl-root.ts";
import { compile, modes, openToAll, runIn, stage } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const terminal = join(folder, "terminal");
const work = join(folder, "work");
let merged: ChildProcess;
let mounts: string;

/** Lays the extensions over this machine's own /usr, in a mount namespace that ends with the test. */
const merge = `
  mount --make-rshared / && mount -t tmpfs tmpfs /run && mkdir -p /run/extensions || exit
  for name; do mkdir /run/extensions/$name && mount --bind ${folder}/$name /run/extensions/$name || exit; done
  systemd-sysext merge >&2 && echo merged && read -r _
  systemd-sysext unmerge >&2`;

beforeAll(async () => {
  mounts = mountTable(folder);
  compile("terminal", terminal, "-lutil");
  mkdirSync(work);
  chmodSync(work, 0o777);
  const debian = debianRoot([
    "htop",
    "python3-minimal",
    "git",
    "nginx-light",
    "vim-tiny",
    "perl-base",
    "dash",
    "ncurses-base",
  ]);
  const programs = ["htop", "python3", "git", "vim.tiny"].map((name) => `/usr/bin/${name}:/opt/w/${name}`);
  await stage(
    debian,
    join(folder, "deb"),
    [...programs, "/usr/bin/perl:/opt/w/perl", "/usr/sbin/nginx:/opt/w/nginx"],
    {},
    "deb",
  );
  makeMuslRoot(join(folder, "musl-root"));
  const applets = ["busybox", "cat", "id", "sh"].map((name) => `/bin/${name}:/opt/m/${name}`);
  writeFileSync(join(folder, "musl-root/usr/bin/greet"), '#!/bin/sh\necho "hello $1 from $0"\n', { mode: 0o755 });
  writeFileSync(join(folder, "musl-root/usr/bin/bare"), 'echo "bare $1"\n', { mode: 0o755 });
  writeFileSync(join(folder, "musl-root/usr/bin/lost"), "#!/no/such/sh\n", { mode: 0o755 });
  const scripts = ["greet", "bare", "lost"].map((name) => `/usr/bin/${name}:/opt/m/${name}`);
  await stage(join(folder, "musl-root"), join(folder, "musl"), [...applets, ...scripts], {}, "musl");
  for (const name of ["deb", "musl"]) {
    const releases = join(folder, name, "usr/lib/extension-release.d");
    mkdirSync(releases, { recursive: true });
    writeFileSync(join(releases, `extension-release.${name}`), "ID=_any\n");
  }
  merged = spawn("unshare", ["-m", "sh", "-c", merge, "merge", "deb", "musl"], { stdio: ["pipe", "pipe", "inherit"] });
  const [said] = (await once(merged.stdout!, "data")) as [Buffer];
  expect(said.toString()).toBe("merged\n");
});

afterAll(async () => {
  merged.stdin!.end("\n");
  await once(merged, "close");
  expect(mountTable(folder)).toBe(mounts);
});

describe.each(modes)("merged by systemd-sysext: $name", (mode) => {
  const inside = (command: readonly string[], options: Parameters<typeof runIn>[2] = {}) => {
    const { prefix, env } = mode;
    const enter = ["nsenter", "-t", String(merged.pid), "-m", `-w${options.cwd ?? work}`];
    return runIn({ prefix: [...enter, ...prefix], env }, command, options);
  };

  it.each([
    ["htop", ["/opt/w/htop", "--version"], /^htop 3/],
    ["python3 with a module of its library", ["/opt/w/python3", "-c", "import os;print(os.getcwd())"], `${work}\n`],
    ["git", ["/opt/w/git", "init", "-q", `${work}/repository of ${mode.name}`], ""],
    ["perl", ["/opt/w/perl", "-e", "print join ',', @ARGV", "a", "b c"], "a,b c"],
    ["busybox of musl", ["/opt/m/busybox", "cat", "/etc/debian_version"], readFileSync("/etc/debian_version", "utf8")],
    ["an applet under its link's name", ["/opt/m/cat", "/bin/greet"], /^#!\/bin\/sh\n/],
    ["a script", ["/opt/m/greet", "you"], "hello you from /usr/bin/greet\n"],
    ["a script that names no interpreter", ["/opt/m/bare", "you"], "bare you\n"],
  ])("%s", (_, command, stdout) => {
    const ran = inside(command);
    expect(ran).toMatchObject({ status: 0, stderr: "" });
    if (typeof stdout === "string") expect(ran.stdout).toBe(stdout);
    else expect(ran.stdout).toMatch(stdout);
  });

  it("a program whose interpreter is missing is told in one line", () => {
    const { status, stdout, stderr } = inside(["/opt/m/lost"]);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^(flatwrap|nsenter|bwrap): [^\n]+\n$/);
    expect(status).toBe(mode.via === "bwrap" ? 1 : 127);
  });

  it("htop on a terminal", () => {
    const { stdout } = inside([terminal, "type", "F10", "q", "/opt/w/htop"], { env: { TERM: "xterm" } });
    expect(stdout).toContain("CPU");
    expect(stdout).toMatch(/job exited 0\s*$/);
  });

  it("vim edits a file of the host", () => {
    const file = join(work, `text of ${mode.name}`);
    const { stdout } = inside([terminal, "type", "[New]", "iwritten\u001b:wq\r", "/opt/w/vim.tiny", file], {
      env: { TERM: "xterm" },
    });
    expect(stdout).toMatch(/job exited 0\s*$/);
    expect(readFileSync(file, "utf8")).toBe("written\n");
  });

  it("nginx serves a page and stops when told", async () => {
    const place = join(work, `nginx ${mode.name}`);
    const port = 18_400 + modes.indexOf(mode);
    const config = `pid "${place}.pid"; error_log stderr; events {}
      http { access_log off; ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path "${place}.${name}";`).join(" ")}
        server { listen 127.0.0.1:${port}; location / { return 200 "served\\n"; } } }`;
    writeFileSync(`${place}.conf`, config);
    // A daemon that kept our pipes would keep us waiting.
    const nginx = [
      "sh",
      "-c",
      'exec "$@" >/dev/null 2>&1',
      "sh",
      "/opt/w/nginx",
      "-e",
      "stderr",
      "-c",
      `${place}.conf`,
    ];
    expect(inside(nginx)).toMatchObject({ status: 0 });
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("served\n");
    expect(inside([...nginx, "-s", "stop"])).toMatchObject({ status: 0 });
  });

  it("cannot write the root, nor the host's /usr", () => {
    const { stdout } = inside([
      "/opt/w/perl",
      "-e",
      'for (@ARGV) { print open(F, ">", $_) ? "open" : "$!", "\n" }',
      "/usr/x",
      "/usr/bin/git",
      "/x",
    ]);
    expect(stdout).toBe("Read-only file system\n".repeat(3));
  });
});
