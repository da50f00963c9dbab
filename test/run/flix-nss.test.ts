import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { busyboxHost, glibcHost, type Host, merge } from "../support/isolated-host.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
let libraries: string;

/** An image whose nsswitch.conf asks a service of its own, in a library that needs another one. */
beforeAll(() => {
  mkdirSync(join(root, "usr/bin"), { recursive: true });
  mkdirSync(join(root, "etc"));
  const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of files) sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  libraries = join(
    root,
    files.find((path) => path.includes("libc.so"))!,
    "..",
  );
  const compile = (path: string, source: string, ...flags: string[]): void =>
    void execFileSync("gcc", ["-xc", "-", "-xnone", "-o", path, ...flags], { input: source });
  const uid = join(libraries, "libuid.so.1");
  compile(uid, "int uid(void) { return 4711; }", "-shared", "-fPIC", "-Wl,-soname,libuid.so.1");
  compile(
    join(libraries, "libnss_made.so.2"),
    `#include <nss.h>
#include <pwd.h>
#include <string.h>
int uid(void);
enum nss_status _nss_made_getpwnam_r(const char *name, struct passwd *user, char *buffer, size_t size, int *error) {
  if (strcmp(name, "made")) return NSS_STATUS_NOTFOUND;
  memset(user, 0, sizeof *user);
  user->pw_name = user->pw_passwd = user->pw_gecos = user->pw_dir = user->pw_shell = "made";
  user->pw_uid = uid();
  return NSS_STATUS_SUCCESS;
}`,
    ...["-shared", "-fPIC", "-Wl,-soname,libnss_made.so.2", uid],
  );
  compile(
    join(root, "usr/bin/lookup"),
    `#include <pwd.h>
#include <stdio.h>
int main(int count, char **names) {
  struct passwd *user = getpwnam(names[1]);
  printf("%d\\n", user ? (int)user->pw_uid : -1);
}`,
  );
});

function lookUp(makeHost: (folder: string) => Host, label: string): string {
  const folder = join(work, label);
  const ended = flixFolder(folder, root, "x", ["--quiet", "/usr/bin/lookup"]);
  expect([ended.status, ended.stderr]).toEqual([0, ""]);
  const host = makeHost(`${folder}-host`);
  writeFileSync(join(host.root, "etc/nsswitch.conf"), "passwd: files made\n");
  merge(host, folder);
  return ["made", "daemon", "nobody-at-all"].map((name) => host.run(["/usr/bin/lookup", name]).stdout.trim()).join(" ");
}

test.each([
  ["without any library", busyboxHost],
  ["with another glibc", (folder: string) => glibcHost(folder, "trixie")],
])("a service of the image's nsswitch.conf comes along and answers on a host %s", (label, makeHost) => {
  expect(lookUp(makeHost, `control ${label}`)).toBe("-1 1501 -1");
  writeFileSync(join(root, "etc/nsswitch.conf"), "passwd: files [NOTFOUND=continue] made # ours\nhosts: files dns\n");
  try {
    expect(lookUp(makeHost, label)).toBe("4711 1501 -1");
  } finally {
    sh(`rm ${root}/etc/nsswitch.conf`);
  }
});
