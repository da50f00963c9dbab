import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { flixwrap, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
const asUser = ["setpriv", "--reuid", "1501", "--regid", "2502", "--clear-groups"];

const compile = (path: string, source: string, ...flags: string[]): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  execFileSync("gcc", ["-xc", "-", "-xnone", "-o", join(root, path), ...flags], { input: source });
};

beforeAll(() => {
  const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of files) sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  const library = "usr/lib/own/libone.so.1";
  compile(library, "int one(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libone.so.1");
  const own = [join(root, library), "-Wl,-rpath,/usr/lib/own"];
  const ids =
    '#include <stdio.h>\n#include <unistd.h>\nint one(void);\nint main(void) { printf("%d %d %d %d\\n", getuid(), geteuid(), getegid(), one()); }';
  compile("usr/bin/setuid", ids, ...own);
  chmodSync(join(root, "usr/bin/setuid"), 0o4755);
  compile(
    "usr/bin/capable",
    `#include <stdio.h>
#include <sys/socket.h>
int one(void);
int main(void) { printf("%s %d\\n", socket(AF_INET, SOCK_RAW, 1) < 0 ? "refused" : "allowed", one()); }`,
    ...own,
  );
  sh(`setcap cap_net_raw+ep ${root}/usr/bin/capable`);
  // Status 0 when there is nothing but loopback, no capability, and nothing to write to but /tmp.
  compile(
    "usr/bin/surroundings",
    `#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
  char line[512];
  int interfaces = 0, capable = 0;
  FILE *file = fopen("/proc/net/dev", "r");
  while (fgets(line, sizeof line, file)) interfaces += strchr(line, ':') && !strstr(line, "lo:");
  file = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, file)) capable += !strncmp(line, "CapEff:", 7) && !strstr(line, "0000000000000000");
  FILE *temporary = fopen("/tmp/kept", "wx"), *shipped = fopen("/usr/bin/kept", "w"), *kernel = fopen("/proc/sys/vm/swappiness", "w");
  printf("%s interfaces %d, capable %d, temporary %d, shipped %d, kernel %d, user %d\\n", count > 1 ? words[1] : "", interfaces, capable,
    temporary != 0, shipped != 0, kernel != 0, getuid());
  return interfaces + capable + !temporary + !!shipped + !!kernel;
}`,
  );
  sh(`chmod 755 ${work}`);
});

describe("privileges of files", () => {
  test("a setuid program and one with file capabilities keep them in the image, for an ordinary user", () => {
    const image = join(work, "x.raw");
    const words = ["--allow-suid", "-o", image, `dir:${root}`, "x", "/usr/bin/setuid", "/usr/bin/capable"];
    const ended = flixwrap(["flix", "--quiet", ...words]);
    const warning = "warning  /usr/bin/setuid: has mode 4755: whoever runs it acts for its owner or group [setuid]\n";
    expect(ended).toMatchObject({ status: 0, stderr: warning });
    const mounted = join(work, "mounted");
    mkdirSync(mounted);
    const run = (place: string, program: string): string =>
      sh(`chroot --userspec=1501:2502 --groups= ${place} /usr/bin/${program}`);
    sh(`mount -o loop,ro ${image} ${mounted}`);
    try {
      // As they do in the image's own root.
      expect([run(root, "setuid"), run(root, "capable")]).toEqual(["1501 0 2502 1\n", "allowed 1\n"]);
      expect([run(mounted, "setuid"), run(mounted, "capable")]).toEqual(["1501 0 2502 1\n", "allowed 1\n"]);
      expect(sh(`stat -c '%a %u:%g' ${mounted}/usr/bin/setuid ${mounted}/usr/bin/capable`)).toBe("4755 0:0\n755 0:0\n");
    } finally {
      sh(`umount ${mounted}`);
    }
  });

  test("file capabilities need no leave, and another option does not take it", () => {
    const plan = flixwrap(["flix", "--quiet", "--dry-run", `dir:${root}`, "x", "/usr/bin/capable"]);
    expect([plan.status, plan.stderr]).toEqual([0, ""]);
    const refused = flixwrap(["flix", "--quiet", "--keep-owners", `dir:${root}`, "x", "/usr/bin/setuid"], {
      cwd: work,
    });
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("/usr/bin/setuid (mode 4755)")]);
  });
});

describe("smoke tests", () => {
  const smoke = ["--smoke", "surroundings 'first one'", "--smoke", "/usr/bin/surroundings second"];
  const words = [...smoke, "--format", "tar", `dir:${root}`, "x", "/usr/bin/surroundings"];
  const told = (user: string): string[] =>
    ["first one", "second"].map(
      (name) => `${name} interfaces 0, capable 0, temporary 1, shipped 0, kernel 0, user ${user}`,
    );

  test.each([
    ["root, whose run as nobody", [], "65534"],
    ["an ordinary user", asUser, "1501"],
  ])("run all, each in a fresh place without a network and without capabilities, for %s", (_, prefix, user) => {
    const place = join(work, `for-${user}`);
    mkdirSync(place);
    chmodSync(place, 0o777);
    const env = { TMPDIR: place, PATH: process.env["PATH"]! };
    const ended = flixwrap(["flix", "-o", join(place, "x.tar"), ...words], { prefix, env });
    expect([ended.status, ended.stderr]).toEqual([0, expect.not.stringMatching(/^warning/m)]);
    expect([...ended.stderr.matchAll(/^smoke .*: (.*)$/gm)].map(([, said]) => said)).toEqual(told(user));
    expect(readFileSync(join(place, "x.tar")).length).toBeGreaterThan(0);
  });
});
