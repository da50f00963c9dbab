import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { type Ended, flixwrap, scratch } from "../support/program.ts";

const work = scratch();
const root = debianRoot(
  "coreutils dash findutils grep gzip libc-bin libpam-modules login openssl perl-base".split(" "),
);
const modules = "/usr/lib/x86_64-linux-gnu";
let count = 0;

function flix(...args: string[]): { readonly folder: string; readonly warnings: string[] } {
  const folder = join(work, `extension-${count++}`);
  const { status, stderr } = flixwrap(["flix", "--format", "dir", "-o", folder, `dir:${root}`, "x", ...args]);
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
