import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Ended, flixwrap, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");

const write = (path: string, content: string): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
};
const compile = (path: string, source: string, ...flags: string[]): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  execFileSync("gcc", ["-xc", "-", "-xnone", "-o", join(root, path), ...flags], { input: source });
};

beforeAll(() => {
  const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of files) sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  const one = "int one(void) { return 1; }";
  compile("usr/lib/libneeded.so", one, "-shared", "-fPIC", "-Wl,-soname,libneeded.so");
  compile("usr/lib/libasked.so", one, "-shared", "-fPIC");
  compile("usr/lib/p/plugin.so", one, "-shared", "-fPIC");
  compile("usr/bin/helper", "int main(void) { return 0; }");
  write("usr/share/p/strange name ü", "1");
  for (const index of [1, 2, 3, 4, 5]) write(`usr/share/many/deep/${index}`, "1");
  write("etc/p.conf", "1");
  write("etc/passwd", "root:x:0:0::/:/bin/sh\n");
  write("var/lib/p/state", "1");
  write("usr/share/unused", "1");
  symlinkSync("p.conf", join(root, "etc/link.conf"));
  compile(
    "usr/bin/p",
    `#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int one(void);
int main(int argc, char **argv) {
  const char *files[] = {"/usr/share/p/strange name \\303\\274", "/etc/link.conf", "/etc/passwd", "/var/lib/p/state", "/proc/self/maps", "/usr/share/none", 0};
  char name[64];
  for (int i = 0; files[i]; i++) open(files[i], O_RDONLY);
  chdir("/usr/share/many");
  for (int i = 1; i < 6; i++) { sprintf(name, "deep/%d", i); open(name, O_RDONLY); }
  dlopen("libasked.so", RTLD_NOW);
  dlopen("/usr/lib/p/plugin.so", RTLD_NOW);
  if (argc > 1) return 7;
  execl("/usr/bin/helper", "helper", (char *)0);
  return one();
}`,
    join(root, "usr/lib/libneeded.so"),
  );
});

function trace(command: string, ...args: string[]): Ended {
  return flixwrap(["flix", "--dry-run", "--trace", command, ...args, `dir:${root}`, "x", "/usr/bin/p"]);
}
const notices = ({ stderr }: Ended): string[] =>
  stderr
    .split("\n")
    .filter((line) => line.startsWith("notice"))
    .map((line) => line.replace(/^notice +/, ""))
    .toSorted();

const additions = [
  "--etc /etc/p.conf",
  "--lib /usr/lib/libasked.so",
  "/usr/bin/helper",
  "/usr/lib/p/plugin.so",
  "/usr/share/many (5 files of it)",
  "/usr/share/p/strange name ü",
  "/var/lib/p/state (outside of /usr and /opt: only flatwrap has it there)",
];

describe("what a program opens in its root", () => {
  test("is told as words for the command line, without what the extension has", () => {
    const ended = trace("/usr/bin/p");
    expect([ended.status, notices(ended)]).toEqual([0, additions]);
  });

  test("and is told no more when it is taken", () => {
    const words = ["--lib", "/usr/lib/libasked.so", "--etc", "/etc/p.conf"];
    const entries = ["/usr/bin/helper", "/usr/lib/p", "/usr/share/many", "/usr/share/p"];
    const ended = flixwrap([
      "flix",
      "--dry-run",
      "--trace",
      "/usr/bin/p",
      ...words,
      `dir:${root}`,
      "x",
      "/usr/bin/p",
      ...entries,
    ]);
    expect([ended.status, notices(ended)]).toEqual([0, [additions.at(-1)]]);
  });

  test("a command that fails is told, and what it opened counts", () => {
    const ended = trace("/usr/bin/p fail");
    expect(ended.status).toBe(0);
    expect(ended.stderr).toMatch(/warning .*\/usr\/bin\/p fail ends with status 7/);
    expect(notices(ended)).toEqual(additions.filter((line) => line !== "/usr/bin/helper"));
  });

  test("a command that cannot start is an error in one line", () => {
    const ended = trace("/usr/bin/nowhere");
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(/flix: the command cannot be started in the image's root: \/usr\/bin\/nowhere/);
  });

  test("the input stays as it is", () => {
    const list = () => sh(`cd ${root} && find . -type f -exec sha256sum {} + | sort`);
    const before = list();
    trace("/usr/bin/p");
    expect(list()).toBe(before);
  });

  test("as an ordinary user, too", () => {
    sh(`chmod -R go+rX ${work}`);
    const prefix = ["setpriv", "--reuid", "1501", "--regid", "1501", "--clear-groups"];
    const ended = flixwrap(["flix", "--dry-run", "--trace", "/usr/bin/p", `dir:${root}`, "x", "/usr/bin/p"], {
      prefix,
    });
    expect([ended.status, notices(ended)]).toEqual([0, additions]);
  });
});
