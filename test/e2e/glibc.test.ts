import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { busyboxHost, merge, muslHost } from "../support/isolated-host.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = debianRoot(["b3sum"]);
const extension = join(work, "b3sum");
const input = join(work, "input");

/** The package's own program under the package's own loader. */
const underOwnLoader = (args: string): string => {
  const loader = sh(`find ${root}/lib* -name 'ld-linux*.so.?' | head -n 1`).trim();
  const libraries = dirname(sh(`find ${root}/lib* -name libc.so.6`).trim());
  return sh(`${loader} --library-path ${libraries} ${args}`);
};
const ownChecksum = (): string => underOwnLoader(`${root}/usr/bin/b3sum ${input}`);
/** The libraries that the loader itself says it maps, sorted. */
const loaderSays = (): string[] =>
  [...underOwnLoader(`--list ${root}/usr/bin/b3sum`).matchAll(/^\s+(\S+) => /gm)]
    .map(([, name]) => name!)
    .filter((name) => !name.startsWith("/"))
    .toSorted();

beforeAll(() => {
  writeFileSync(input, "flixwrap\n".repeat(10_000));
  const { status, stderr } = flixFolder(extension, root, "b3sum", ["/usr/bin/b3sum"]);
  expect(stderr).not.toContain("warning");
  expect(status).toBe(0);
});

test.each([
  ["a host without any library", busyboxHost],
  ["a host that has only musl", muslHost],
])("b3sum runs on %s and computes the package's checksum", (_, makeHost) => {
  const host = makeHost(join(work, makeHost.name));
  merge(host, extension);
  const { status, stdout, stderr } = host.run(["/usr/bin/b3sum", input], { shared: [work] });
  expect(stderr).toBe("");
  expect(stdout).toBe(ownChecksum());
  expect(status).toBe(0);
});

test("libraries without a run path of their own are shipped byte for byte", () => {
  const shipped = sh(`cd ${extension}/usr/lib/flixwrap/b3sum && find . -name '*.so*' -type f ! -name 'ld-linux*'`)
    .trim()
    .split("\n");
  expect(shipped.map((path) => basename(path)).toSorted()).toEqual(loaderSays());
  for (const path of shipped) {
    expect(readFileSync(join(extension, "usr/lib/flixwrap/b3sum", path)).equals(readFileSync(join(root, path)))).toBe(
      true,
    );
  }
});

test("the program and the metadata are what systemd wants to see", () => {
  expect(readFileSync(join(extension, "usr/lib/extension-release.d/extension-release.b3sum"), "utf8")).toMatch(
    /^ID=_any\nARCHITECTURE=(x86-64|arm64)\n/,
  );
  expect(readdirSync(extension)).toEqual(["usr"]);
  expect(readdirSync(join(extension, "usr")).toSorted()).toEqual(["bin", "lib", "share"]);
  const dynamic = sh(`readelf -lWd ${extension}/usr/bin/b3sum`);
  expect(dynamic).toMatch(/interpreter: \/usr\/lib\/flixwrap\/b3sum\/lib\S*\/ld-linux/);
  expect(dynamic).toMatch(/\(RPATH\).*\/usr\/lib\/flixwrap\/b3sum\/lib/);
  expect(dynamic).toMatch(/\(FLAGS_1\).*NODEFLIB/);
  expect(dynamic).not.toContain("(RUNPATH)");
});

describe("a hostile host", () => {
  // Probes X01 and X02 of the shell tools: a library of the same name wherever the host's loader would look.
  const trap = join(work, "trap");
  const host = busyboxHost(join(work, "hostile"));

  beforeAll(() => {
    mkdirSync(trap);
    writeFileSync(
      join(work, "trap.c"),
      `#include <unistd.h>\n__attribute__((constructor)) void t(void) { _exit(77); }\n`,
    );
    sh(`gcc -shared -fPIC -Wl,-soname,libgcc_s.so.1 -o ${trap}/libgcc_s.so.1 ${work}/trap.c`);
    copyFileSync(join(trap, "libgcc_s.so.1"), join(trap, "libc.so.6"));
    const triplet = basename(dirname(sh(`find ${root}/lib/ -name libc.so.6`).trim()));
    for (const folder of ["usr/lib", `usr/lib/${triplet}`, "usr/local/lib", "opt/trap"]) {
      mkdirSync(join(host.root, folder), { recursive: true });
      sh(`cp ${trap}/*.so* ${join(host.root, folder)}`);
    }
    writeFileSync(join(host.root, "etc/ld.so.conf"), "/opt/trap\n/usr/lib\n");
    sh(`ldconfig -r ${host.root} -X`);
    writeFileSync(join(host.root, "etc/ld.so.preload"), "/opt/trap/libgcc_s.so.1\n");
    merge(host, extension);
  });

  test.each([
    ["the default folders, ld.so.cache and ld.so.preload", {}],
    ["LD_LIBRARY_PATH", { LD_LIBRARY_PATH: "/opt/trap" }],
  ])("cannot reach the program by %s", (_, env) => {
    const { status, stdout } = host.run(["/usr/bin/b3sum", input], { env, shared: [work] });
    expect(stdout).toBe(ownChecksum());
    expect(status).toBe(0);
  });

  test("is not even asked: strace sees no file opened outside of the sysroot", () => {
    const log = join(work, "strace.log");
    const { status } = host.run(["/usr/bin/b3sum", input], {
      env: { LD_LIBRARY_PATH: "/opt/trap", LC_ALL: "C" },
      shared: [work],
      prefix: ["strace", "-f", "-o", log, "-e", "trace=openat,open,execve"],
    });
    expect(status).toBe(0);
    const calls = readFileSync(log, "utf8").split("\n");
    const from = calls.findIndex((line) => line.includes('execve("/usr/bin/b3sum"'));
    expect(from).toBeGreaterThan(0);
    const opened = calls.slice(from + 1).flatMap((line) => /open(?:at)?\([^"]*"([^"]+)".*= \d/.exec(line)?.[1] ?? []);
    expect(opened.length).toBeGreaterThan(2);
    const outside = opened.filter((path) => !path.startsWith("/usr/lib/flixwrap/b3sum/"));
    expect(
      outside.filter((path) => path !== input && !path.startsWith("/proc/") && !path.startsWith("/sys/fs/cgroup")),
    ).toEqual([]);
  });
});
