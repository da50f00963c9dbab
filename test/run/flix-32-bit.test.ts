import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { type Ended, flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
let count = 0;

/** Both compilers, each with its C library in the root; the name of the library is the same. */
const worlds = [
  { compiler: "gcc", bits: 64, libraries: "/usr/lib/x86_64-linux-gnu", loader: "/lib64/ld-linux-x86-64.so.2" },
  { compiler: "i686-linux-gnu-gcc", bits: 32, libraries: "/usr/lib/i386-linux-gnu", loader: "/lib/ld-linux.so.2" },
] as const;

beforeAll(() => {
  for (const { compiler, bits, libraries, loader } of worlds) {
    const build = (path: string, source: string, ...flags: string[]): void => {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      const args = ["-xc", "-", "-xnone", "-o", join(root, path), ...flags];
      execFileSync(compiler, args, { input: source, stdio: ["pipe", "ignore", "inherit"] });
    };
    const find = (name: string): string => sh(`realpath $(${compiler} -print-file-name=${name})`).trim();
    mkdirSync(join(root, libraries), { recursive: true });
    mkdirSync(join(root, dirname(loader)), { recursive: true });
    sh(`cp ${find("libc.so.6")} ${root}${libraries}/libc.so.6`);
    sh(`cp ${find(loader.replace(/.*\//, ""))} ${root}${loader}`);
    build(
      `${libraries}/libx.so.1`,
      "int x(void) { return 8 * sizeof(long); }",
      "-shared",
      "-fPIC",
      "-Wl,-soname,libx.so.1",
    );
    // Each looks into the other's folder first and finds a library of its name there, but for another machine.
    const folders = bits === 64 ? [worlds[1].libraries, libraries] : [worlds[0].libraries, libraries];
    build(
      `/usr/bin/p${bits}`,
      '#include <stdio.h>\nint x(void);\nint main(void) { printf("%d bits\\n", x()); }',
      `-Wl,-rpath,${folders.join(":")}`,
      join(root, libraries, "libx.so.1"),
    );
  }
});

function flix(...entries: string[]): string {
  const folder = join(work, `extension-${count++}`);
  const ended = flixFolder(folder, root, "x", entries);
  expect([ended.status, ended.stderr]).toEqual([0, expect.not.stringMatching(/^flix: /m)]);
  return folder;
}

function run(folder: string, ...command: string[]): Ended {
  const host = busyboxHost(join(work, `host-${count++}`));
  merge(host, folder);
  return host.run(command);
}

const release = (folder: string): string =>
  readFileSync(join(folder, "usr/lib/extension-release.d/extension-release.x"), "utf8");

describe("a root for two kinds of programs", () => {
  test("a 32-bit program runs with its own loader and libraries, and nothing of the others comes along", () => {
    const folder = flix("/usr/bin/p32");
    expect(run(folder, "/usr/bin/p32").stdout).toBe("32 bits\n");
    expect(release(folder)).toMatch(/^ARCHITECTURE=x86$/m);
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const heads = files.map(({ parentPath, name }) =>
      readFileSync(join(parentPath, name)).subarray(0, 5).toString("latin1"),
    );
    // EI_CLASS: 1 is ELFCLASS32, 2 ELFCLASS64.
    expect(heads).toContain("\x7fELF\x01");
    expect(heads).not.toContain("\x7fELF\x02");
  });

  test("both in one extension, each with its own; the host is the 64-bit one", () => {
    const folder = flix("/usr/bin/p32", "/usr/bin/p64");
    expect(run(folder, "/usr/bin/p32").stdout).toBe("32 bits\n");
    expect(run(folder, "/usr/bin/p64").stdout).toBe("64 bits\n");
    expect(release(folder)).toMatch(/^ARCHITECTURE=x86-64$/m);
  });
});
