import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");

const compile = (path: string, source: string, ...flags: string[]): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  execFileSync("gcc", ["-xc", "-", "-xnone", "-o", join(root, path), ...flags], { input: source });
};
const link = (from: string, to: string): void => {
  mkdirSync(join(root, dirname(to)), { recursive: true });
  linkSync(join(root, from), join(root, to));
};

beforeAll(() => {
  mkdirSync(join(root, "proc"), { recursive: true });
  const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of files) sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  compile("usr/lib/one/libx.so", "int x(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libx.so");
  link("usr/lib/one/libx.so", "usr/lib/two/libx.so");
  const program = '#include <stdio.h>\nint x(void);\nint main(void) { printf("%d\\n", x()); }';
  const library = join(root, "usr/lib/one/libx.so");
  for (const folder of ["one", "two"]) {
    compile(`usr/bin/${folder}`, program, library, `-Wl,-rpath,/usr/lib/${folder}`);
  }
  // One file, two programs: each finds the library by its own place.
  compile("usr/a/bin/p", program, library, "-Wl,-rpath,$ORIGIN/../../lib/one:$ORIGIN/../lib");
  link("usr/a/bin/p", "usr/bin/p");
  compile("usr/a/lib/libx.so", "int x(void) { return 2; }", "-shared", "-fPIC", "-Wl,-soname,libx.so");
  compile("usr/lib/libx.so", "int x(void) { return 3; }", "-shared", "-fPIC", "-Wl,-soname,libx.so");
});

test.each([
  [
    ["/usr/bin/one", "/usr/bin/two"],
    ["1", "1"],
  ],
  [
    ["/usr/a/bin/p", "/usr/bin/p"],
    ["1", "3"],
  ],
  [
    ["/usr/bin/p", "/usr/a/bin/p", "/usr/bin/two", "/usr/bin/one"],
    ["3", "1", "1", "1"],
  ],
])("hard links of programs and of libraries: %j", (programs, answers) => {
  // The loader takes $ORIGIN from /proc/self/exe.
  const before = programs.map((program) =>
    sh(`unshare -mpf --mount-proc=${root}/proc chroot ${root} ${program}`).trim(),
  );
  expect(before).toEqual(answers);
  const folder = join(work, `extension-${programs.length}-${answers.join("")}`);
  const ended = flixFolder(folder, root, "x", programs);
  expect([ended.status, ended.stderr]).toEqual([0, expect.not.stringMatching(/^flix: /m)]);
  const host = busyboxHost(`${folder}-host`);
  merge(host, folder);
  expect(programs.map((program) => host.run([program]).stdout.trim())).toEqual(answers);
});
