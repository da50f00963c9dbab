import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { convert } from "../../src/convert/convert.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-capability-"));
afterAll(() => rmSync(work, { recursive: true }));

/** Prints whether the kernel asked for secure execution (getauxval(3)), and which library it got. */
const program = `
#include <stdio.h>
#include <sys/auxv.h>
const char *where(void);
int main(void) { printf("secure %lu, library %s\\n", getauxval(AT_SECURE), where()); return 0; }
`;

const families = [
  {
    family: "glibc",
    compiler: "gcc",
    loader: "/lib64/ld-linux-x86-64.so.2",
    libc: ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"],
  },
  { family: "musl", compiler: "musl-gcc", loader: "/lib/ld-musl-x86_64.so.1", libc: ["/lib/ld-musl-x86_64.so.1"] },
] as const;

// Run paths as projects have them: absolute, and relative to the file, which secure mode does not trust.
const runPaths = ["/opt/private", "$ORIGIN/../../opt/private"];

describe.each(families)("a program of $family with a file capability, in secure mode", ({ family, compiler, libc }) => {
  test.each(runPaths)("runs with its private library, found by %s, whatever LD_LIBRARY_PATH says", async (runPath) => {
    const base = mkdtempSync(join(work, `${family}-`));
    const root = join(base, "root");
    for (const folder of ["usr/bin", "opt/private"]) mkdirSync(join(root, folder), { recursive: true });
    for (const file of libc) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      copyFileSync(file, join(root, file));
    }
    const compile = (code: string, output: string, ...options: string[]) =>
      execFileSync(compiler, ["-fPIC", "-x", "c", "-", "-x", "none", "-o", output, ...options], { input: code });
    const library = (answer: string, output: string, ...options: string[]) => {
      mkdirSync(dirname(output), { recursive: true });
      compile(
        `const char *where(void) { return "${answer}"; }`,
        output,
        "-shared",
        "-Wl,-soname,libwhere.so",
        ...options,
      );
    };
    library("of the image", join(root, "opt/private/libwhere.so"));
    compile(program, join(root, "usr/bin/tool"), join(root, "opt/private/libwhere.so"), `-Wl,-rpath,${runPath}`);
    execFileSync("setcap", ["cap_net_raw+ep", join(root, "usr/bin/tool")]);

    const output = join(base, "host");
    await convert(
      {
        converter: "flix",
        source: `dir:${root}`,
        name: "tool",
        entries: ["/usr/bin/tool"],
        options: { format: "dir", output },
      },
      quietContext({ env: process.env }),
    );
    // The extension alone is the host; another library of that name lies where an attacker would put it.
    library("of the attacker", join(output, "usr/attack/libwhere.so"));
    const run = () =>
      spawnSync("chroot", ["--userspec=65534:65534", output, "/usr/bin/tool"], {
        encoding: "utf8",
        env: { PATH: "/usr/sbin:/usr/bin", LD_LIBRARY_PATH: "/usr/attack" },
      });
    const { stdout, stderr } = run();
    expect(stderr).toBe("");
    expect(stdout).toBe("secure 1, library of the image\n");
    // Without the capability it is an ordinary program, and still not misled.
    execFileSync("setcap", ["-r", join(output, "usr/bin/tool")]);
    expect(run().stdout).toBe("secure 0, library of the image\n");
  });
});
