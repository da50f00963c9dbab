import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { scratch, sh } from "../support/program.ts";
import { addBubblewrap, makeMuslRoot } from "../support/musl-root.ts";
import { compile, makeRoot, modes, openToAll, readReport, runIn, stage, user } from "./flatwrap-world.ts";

const folder = openToAll(scratch());
const root = join(folder, "root");
const tree = join(folder, "tree");
const terminal = join(folder, "terminal");
/** The packages of flatwrap-merged.test.ts, whose root is used again. */
const programs = ["htop", "python3-minimal", "git", "nginx-light", "vim-tiny", "perl-base", "dash", "ncurses-base"];

/** A program of the root that needs a library of the root, both for musl. */
function buildLinked(image: string): void {
  const work = scratch();
  writeFileSync(join(work, "own.c"), "int own(void) { return 7; }\n");
  writeFileSync(join(work, "main.c"), "int own(void);\nint main(void) { return own(); }\n");
  sh(`musl-gcc -shared -fPIC -Wl,-soname,libown.so.1 -o ${image}/usr/lib/libown.so.1 own.c`, { cwd: work });
  sh(`musl-gcc -o ${image}/usr/bin/linked main.c ${image}/usr/lib/libown.so.1`, { cwd: work });
}

/** Runs in a root that is the given folder, with this machine's kernel interfaces. */
const onHost = (host: string): readonly string[] =>
  `bwrap --bind ${host} / --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys --clearenv --setenv PATH /usr/bin:/bin`.split(
    " ",
  );

beforeAll(async () => {
  makeRoot(root);
  await stage(root, tree, ["/usr/bin/probe"]);
});

describe("a host that has only busybox and musl, and neither /home nor /opt (Y04)", () => {
  const host = join(folder, "musl-host");
  beforeAll(async () => {
    makeMuslRoot(host);
    const names = ["htop", "git", "python3", "perl", "vim.tiny"].map((name) => `/usr/bin/${name}`);
    const debian = await stage(
      debianRoot(programs),
      join(folder, "debian"),
      [...names, "/usr/sbin/nginx"],
      {},
      "debian",
    );
    cpSync(join(debian, "usr"), join(host, "usr"), { recursive: true, verbatimSymlinks: true });
    const image = join(folder, "musl-image");
    makeMuslRoot(image);
    writeFileSync(join(image, "usr/bin/greet"), '#!/bin/sh\necho "hello $1 from $0"\n', { mode: 0o755 });
    const applied = ["busybox", "cat", "greet", "linked"];
    const applets = applied.map((name) => `/usr/bin/${name}:/opt/m/${name}`);
    // Needs a library of its own, where its loader looks by itself; the host's musl looks elsewhere.
    buildLinked(image);
    const loader = readdirSync(join(host, "usr/lib")).find((name) => name.startsWith("ld-musl-"))!;
    writeFileSync(join(host, "etc", loader.replace(/\.so\.1$/, ".path")), "/usr/lib/of-the-host\n");
    const musl = await stage(image, join(folder, "musl"), applets, {}, "musl");
    for (const part of ["usr", "opt"]) {
      cpSync(join(musl, part), join(host, part), { recursive: true, verbatimSymlinks: true });
    }
    addBubblewrap(host);
    compile("terminal", terminal, "-lutil");
    chmodSync(join(host, "tmp"), 0o777);
    mkdirSync(join(host, "tmp/w"));
    chmodSync(join(host, "tmp/w"), 0o777);
    cpSync(join(tree, "usr"), join(host, "usr"), { recursive: true, verbatimSymlinks: true });
  });

  describe.each(modes)("$name", ({ prefix, isUser, via }) => {
    const run = (command: string) =>
      runIn({ prefix: [...prefix, ...onHost(host), "sh", "-c"], env: {} }, [
        `export FLATWRAP_VIA=${via}; cd /tmp/w && ${command}`,
      ]);

    it("gives the caller's identity, the working folder and devices", () => {
      const { stdout, stderr } = run("probe && probe write /dev/null");
      expect(stderr).toBe("");
      expect(readReport(stdout.split("\n")[0]!)).toMatchObject({
        cwd: "/tmp/w",
        uid: isUser ? [user.uid, user.uid] : [0, 0],
        gid: isUser ? [user.gid, user.gid] : [0, 0],
      });
      expect(stdout).toMatch(/\/dev\/null ok\n$/);
    });

    it("a program's loader goes by the root's folders, whatever the host's musl is told", () => {
      expect(run("/opt/m/linked; echo $?")).toMatchObject({ stdout: "7\n", stderr: "" });
    });

    it("protects the root and passes the exit status", () => {
      const { stdout } = run("probe make /usr/x /tmp/w/$$; probe exit 7; echo $?");
      expect(stdout).toMatch(/^\/usr\/x EROFS\n\/tmp\/w\/\d+ ok\n7\n$/);
    });

    it.each([
      ["htop --version", /^htop 3/],
      ["git --version", /^git version/],
      ["python3 -c 'import os; print(os.getcwd())'", "/tmp/w\n"],
      ["perl -e 'print 1'", "1"],
      ["vim.tiny --version", /^VIM/],
      ["nginx -v 2>&1", /^nginx version/],
      ["/opt/m/busybox id -u", isUser ? `${user.uid}\n` : "0\n"],
      ["/opt/m/cat /usr/bin/greet", /^#!\/bin\/sh\n/],
      ["/opt/m/greet you", "hello you from /usr/bin/greet\n"],
      [`git init -q --template= /tmp/w/${via}-${isUser} && cat /tmp/w/${via}-${isUser}/.git/HEAD`, /^ref: /],
    ])("%s of another root", (command, stdout) => {
      const ran = run(command);
      expect(ran.stderr).toBe("");
      if (typeof stdout === "string") expect(ran.stdout).toBe(stdout);
      else expect(ran.stdout).toMatch(stdout);
    });

    const onTerminal = (word: string, keys: string, command: string) =>
      runIn({ prefix: [terminal, "type", word, keys, ...prefix, ...onHost(host), "sh", "-c"], env: {} }, [
        `export FLATWRAP_VIA=${via} TERM=xterm; cd /tmp/w && exec ${command}`,
      ]).stdout;

    it("htop has the terminal, and vim edits a file of the host on it", () => {
      const shown = onTerminal("F10", "q", "htop");
      expect(shown).toContain("CPU");
      expect(shown).toMatch(/job exited 0\s*$/);
      const file = `/tmp/w/text-${via}-${isUser}`;
      expect(onTerminal("[New", "iwritten\u001b:wq\r", `vim.tiny ${file}`)).toMatch(/job exited 0\s*$/);
      expect(readFileSync(join(host, file), "utf8")).toBe("written\n");
    });

    it("nginx serves a page to perl, each in a view of its own, and stops when told", () => {
      const place = `/tmp/w/nginx-${via}-${isUser}`;
      const port = 18_500 + modes.findIndex((mode) => mode.via === via && mode.isUser === isUser);
      const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
      // This host has no user for it.
      const config = `${isUser ? "" : "user root root; "}pid "${place}.pid"; error_log "${place}.log"; events {}
        http { access_log off; ${folders.map((name) => `${name}_temp_path "${place}.${name}";`).join(" ")}
          server { listen 127.0.0.1:${port}; location / { return 200 "served\n"; } } }`;
      writeFileSync(join(host, `${place}.conf`), config);
      const nginx = `nginx -e ${place}.log -c ${place}.conf`;
      const fetch = `my $s = IO::Socket::INET->new("127.0.0.1:${port}") or die; print $s "GET / HTTP/1.0\r\n\r\n"; print <$s>`;
      // A daemon that kept our pipes would keep us waiting.
      const ran = run(`${nginx} >/dev/null 2>&1 && perl -MIO::Socket::INET -e '${fetch}'; ${nginx} -s stop && echo $?`);
      expect(ran.stderr).toBe("");
      expect(ran.stdout).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*\r\n\r\nserved\n0\n$/);
    });

    it("has nothing of the host's loader in its way", () => {
      expect(run("probe read /etc/passwd /etc/own /home/x").stdout).toBe(
        "/etc/passwd ok\n/etc/own ENOENT\n/home/x ENOENT\n",
      );
    });
  });
});
