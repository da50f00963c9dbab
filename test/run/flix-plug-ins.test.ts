import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { busyboxHost, glibcHost, type Host, merge } from "../support/isolated-host.ts";
import { type Ended, flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = debianRoot(
  "coreutils dash findutils grep gzip libc-bin libpam-modules login openssl perl-base".split(" "),
);
const modules = "/usr/lib/x86_64-linux-gnu";
let count = 0;

function flix(...args: string[]): { readonly folder: string; readonly warnings: string[] } {
  const folder = join(work, `extension-${count++}`);
  const { status, stderr } = flixFolder(folder, root, "x", args);
  expect([status, stderr]).toEqual([0, expect.not.stringMatching(/^flix: /m)]);
  return { folder, warnings: stderr.split("\n").filter((line) => line.startsWith("warning")) };
}

function run(folder: string, command: readonly string[]): Ended {
  const host = busyboxHost(join(work, `host-${count++}`));
  merge(host, folder);
  return host.run(command);
}

describe("plug-ins whose place is compiled in", () => {
  test.each([
    ["/usr/bin/iconv", `${modules}/gconv`, /253 plug-ins for libc\.so\.6: character sets/],
    ["/usr/bin/openssl", `${modules}/ossl-modules`, /a plug-in for libcrypto\.so\.3: OpenSSL providers/],
    ["/bin/login:/usr/bin/login", "/lib/x86_64-linux-gnu/security", /plug-ins for libpam\.so\.0\S*: PAM modules/],
    ["/usr/bin/perl", `${modules}/perl-base`, /plug-ins for perl: compiled Perl modules/],
  ])("%s is told of %s, once, and no longer when the folder is taken as advised", (program, folder, words) => {
    const told = flix("--allow-suid", program).warnings.filter((line) => line.includes(`${folder} is not taken`));
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(words);
    const advice = /add the PATH (\S+), or/.exec(told[0]!)![1]!;
    expect(flix("--allow-suid", program, advice).warnings.join()).not.toContain(`${folder} is not taken`);
  });

  test.each(["/bin/ls", "/bin/grep", "/usr/bin/find", "/bin/gzip", "/bin/dash"])(
    "%s, which uses none, is told nothing",
    (program) => expect(flix(`${program}:/usr/bin/program`).warnings).toEqual([]),
  );

  test("the advice holds: iconv converts with the folder, and cannot without it", () => {
    const command = ["sh", "-c", "echo Größe | /usr/bin/iconv -f UTF-8 -t ISO-8859-15 | od -An -tx1"];
    const without = run(flix("/usr/bin/iconv").folder, command);
    expect(without.stderr).toMatch(/failed to start conversion|unsupported/);
    const taken = run(flix("/usr/bin/iconv", `${modules}/gconv`).folder, command);
    expect([taken.stdout.trim(), taken.stderr]).toEqual(["47 72 f6 df 65 0a", ""]);
  });
});

describe("folders that libraries of every host look into stay private", () => {
  const hosts: readonly [string, (root: string) => Host][] = [
    ["without any library", busyboxHost],
    ["with another glibc and its own plug-ins", (folder) => glibcHost(folder, "trixie")],
  ];
  /** Nothing of ours may stand where the host's libraries look. */
  const expectPrivate = (folder: string): void => {
    const found = sh(`cd ${folder} && find . -name gconv -o -name security -o -name ossl-modules`).trim().split("\n");
    expect(found.filter((path) => !path.startsWith("./usr/lib/flixwrap/x/"))).toEqual([]);
    expect(found).not.toEqual([""]);
  };
  const runOn = (
    makeHost: (root: string) => Host,
    folder: string,
    command: string,
    files: Record<string, string> = {},
  ): Ended => {
    const host = makeHost(join(work, `host-${count++}`));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(host.root, path, ".."), { recursive: true });
      writeFileSync(join(host.root, path), text);
    }
    merge(host, folder);
    return host.run(["sh", "-c", command]);
  };

  test.each(hosts)("character sets of iconv, one of which needs a library beside it, on a host %s", (_, makeHost) => {
    const { folder } = flix("/usr/bin/iconv", `${modules}/gconv`);
    expectPrivate(folder);
    const { stdout, stderr } = runOn(makeHost, folder, "printf 日本 | iconv -f UTF-8 -t EUC-JP | od -An -tx1");
    expect([stdout.trim(), stderr]).toEqual(["c6 fc cb dc", ""]);
  });

  test("the cache of a configured image, which names the folder's own place, is left out", () => {
    const configured = join(work, "configured");
    sh(`cp -al ${root} ${configured}`);
    sh(`bwrap --bind ${configured} / --proc /proc --dev /dev --tmpfs /tmp /usr/sbin/iconvconfig`);
    sh(`grep -q ${modules}/gconv ${configured}${modules}/gconv/gconv-modules.cache`);
    const folder = join(work, "from-configured");
    const words = ["/usr/bin/iconv", `${modules}/gconv`];
    expect(flixFolder(folder, configured, "x", words).status).toBe(0);
    const { stdout, stderr } = run(folder, ["sh", "-c", "printf 日本 | iconv -f UTF-8 -t EUC-JP | od -An -tx1"]);
    expect([stdout.trim(), stderr]).toEqual(["c6 fc cb dc", ""]);
  });

  test.each(hosts)("OpenSSL's legacy provider, on a host %s", (_, makeHost) => {
    const command = "printf a | openssl dgst -md4 -provider legacy -provider default";
    expect(run(flix("/usr/bin/openssl").folder, ["sh", "-c", command]).stderr).toMatch(
      /unable to load provider legacy/,
    );
    const { folder } = flix("/usr/bin/openssl", `${modules}/ossl-modules`);
    expectPrivate(folder);
    // RFC 1320, A.5.
    expect(runOn(makeHost, folder, command).stdout).toMatch(/= bde52cb31de33e46245e05fbdbd6fb24$/m);
  });

  test.each(hosts)("PAM modules, chosen by the host's own /etc/pam.d, on a host %s", (_, makeHost) => {
    const source = `#include <stdio.h>
struct response; struct message;
struct conversation { int (*ask)(int, const struct message **, struct response **, void *); void *data; };
int pam_start(const char *, const char *, const struct conversation *, void **);
int pam_authenticate(void *, int);
static int ask(int n, const struct message **m, struct response **r, void *d) { return 19; }
int main(int argc, char **argv) {
  struct conversation conversation = {ask, 0};
  void *handle = 0;
  int started = pam_start(argv[1], "root", &conversation, &handle);
  printf("%d %d\\n", started, started ? -1 : pam_authenticate(handle, 0));
}`;
    const image = join(work, `pam-${count++}`);
    sh(`cp -al ${root} ${image}`);
    execFileSync(
      "gcc",
      [
        "-xc",
        "-",
        "-xnone",
        "-o",
        join(image, "usr/bin/ask"),
        join(image, "lib/x86_64-linux-gnu/libpam.so.0"),
        "-Wl,--unresolved-symbols=ignore-in-shared-libs",
      ],
      { input: source },
    );
    const folder = join(work, `pam-extension-${count++}`);
    const words = ["/usr/bin/ask", "/lib/x86_64-linux-gnu/security:/usr/lib/x86_64-linux-gnu/security"];
    const ended = flixFolder(folder, image, "x", ["--quiet", ...words]);
    expect([ended.status, ended.stderr]).toEqual([0, expect.not.stringContaining("is not taken")]);
    expectPrivate(folder);
    const policies = {
      "etc/pam.d/allowed": "auth required pam_permit.so\n",
      "etc/pam.d/refused": "auth required pam_deny.so\n",
      "etc/pam.d/unknown": "auth required pam_nothing.so\n",
    };
    // PAM_SUCCESS 0, PAM_AUTH_ERR 7; a module that is not there is PAM_MODULE_UNKNOWN 28 (_pam_types.h).
    const { stdout } = runOn(makeHost, folder, "ask allowed; ask refused; ask unknown", policies);
    expect(stdout).toBe("0 0\n0 7\n0 28\n");
  });
});
