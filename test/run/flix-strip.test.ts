import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { type Ended, flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
let count = 0;

const compile = (path: string, source: string, ...flags: string[]): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  execFileSync("gcc", ["-g", "-xc", "-", "-xnone", "-o", join(root, path), ...flags], { input: source });
};
const library = "usr/lib/libanswer.so.1";
const main = '#include <stdio.h>\nint answer(void);\nint main(void) { printf("%d\\n", answer()); }';

beforeAll(() => {
  const files = [...sh("ldd /bin/cat").matchAll(/(\/\S+) \(/g)].map(([, path]) => path!);
  for (const path of files) sh(`mkdir -p $(dirname ${root}${path}) && cp -L ${path} ${root}${path}`);
  compile(library, "int answer(void) { return 42; }", "-shared", "-fPIC", "-Wl,-soname,libanswer.so.1");
  compile("usr/bin/main", main, join(root, library));
  sh(`ln ${root}/usr/bin/main ${root}/usr/bin/twin`);
  compile("usr/bin/payload", '#include <stdio.h>\nint main(void) { puts("payload"); }');
  appendFileSync(join(root, "usr/bin/payload"), "the payload");
});

const flix = (words: readonly string[], env: Readonly<Record<string, string>> = {}): Ended & { folder: string } => {
  const folder = join(work, `extension-${count++}`);
  const path = process.env["PATH"] ?? "";
  const ended = flixFolder(folder, root, "x", words, {
    env: { PATH: path, ...env },
  });
  return { ...ended, folder };
};
const run = (folder: string, program: string): string => {
  const host = busyboxHost(join(work, `host-${count++}`));
  merge(host, folder);
  const { stdout, stderr } = host.run([program]);
  return stdout + stderr;
};
const sections = (path: string): string => sh(`readelf -SW ${path}`);

describe("--strip", () => {
  test("programs and libraries lose what is never mapped, and work", () => {
    const { folder, status, stderr } = flix(["--strip", "--smoke", "/usr/bin/main", "/usr/bin/main", "/usr/bin/twin"]);
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^strip +[2-9] files, \d+ bytes less$/m)]);
    for (const path of ["usr/bin/main", "usr/bin/twin", `usr/lib/flixwrap/x/${library}`]) {
      expect(sections(join(folder, path))).not.toMatch(/\.symtab|\.debug_/);
    }
    expect(sections(join(root, "usr/bin/main"))).toMatch(/\.symtab/);
    expect([run(folder, "/usr/bin/main"), run(folder, "/usr/bin/twin")]).toEqual(["42\n", "42\n"]);
    // A library that needs no edit is what strip makes of the image's own.
    sh(`strip --strip-unneeded -o ${work}/stripped ${root}/${library}`);
    const shipped = readFileSync(join(folder, "usr/lib/flixwrap/x", library));
    expect(shipped.equals(readFileSync(join(work, "stripped")))).toBe(true);
  });

  test("without it nothing is lost, and the same words give the same bytes", () => {
    expect(sections(join(flix(["/usr/bin/main"]).folder, "usr/bin/main"))).toMatch(/\.symtab[^]*\.strtab/);
    const [first, second] = [1, 2].map(() => flix(["--strip", "/usr/bin/main"]).folder);
    sh(`diff -r ${first} ${second}`);
  });

  test("a payload behind the last section stays where it is, and so does all else of that file", () => {
    const { folder, status } = flix(["--strip", "/usr/bin/payload"]);
    expect(status).toBe(0);
    const shipped = join(folder, "usr/bin/payload");
    expect(sections(shipped)).toMatch(/\.symtab/);
    expect(readFileSync(shipped, "latin1")).toContain("the payload");
    expect(run(folder, "/usr/bin/payload")).toBe("payload\n");
  });

  test("what the tool damages is told, and shipped whole", () => {
    const tools = join(work, "tools");
    mkdirSync(tools);
    // One byte of the code is another.
    const damage = `#!/bin/sh\nobjcopy --strip-all in out && printf X | dd of=out bs=1 seek=$((0x1100)) conv=notrunc 2>/dev/null\n`;
    for (const tool of ["strip", "llvm-strip"]) writeFileSync(join(tools, tool), damage, { mode: 0o755 });
    const { folder, stderr } = flix(["--strip", "/usr/bin/main"], { PATH: `${tools}:${process.env["PATH"]}` });
    expect(stderr).toMatch(
      /warning +\/usr\/bin\/main is shipped as it is, not stripped: strip damages it; llvm-strip damages it/,
    );
    expect(run(folder, "/usr/bin/main")).toBe("42\n");
  });

  test("a file of another architecture is stripped by llvm-strip", () => {
    const source = join(work, "static.c");
    writeFileSync(source, "int foreign(void) { return 0; }");
    sh(
      `mkdir -p ${root}/usr/lib/own && aarch64-linux-gnu-gcc -g -shared -nostdlib -o ${root}/usr/lib/own/foreign ${source}`,
    );
    const { folder, status, stderr } = flix(["--strip", "/usr/lib/own/foreign"]);
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^strip +1 files/m)]);
    expect(sections(join(folder, "usr/lib/own/foreign"))).not.toMatch(/\.symtab|\.debug_/);
  });

  test("without a tool it is one clear line, and nothing is written", () => {
    const { folder, status, stderr } = flix(["--quiet", "--strip", "/usr/bin/main"], { PATH: "/nowhere" });
    expect([status, stderr]).toEqual([
      1,
      "flix: strip or llvm-strip is required for --strip; install package binutils, or llvm for files of another architecture\n",
    ]);
    expect(sh(`ls -d ${folder} 2>/dev/null || true`)).toBe("");
  });
});
