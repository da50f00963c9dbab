import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";
import { debianSource } from "../support/debian-source.ts";
import { busyboxHost, merge } from "../support/isolated-host.ts";
import { flixFolder, scratch, sh } from "../support/program.ts";

const work = scratch();
const root = join(work, "root");
const extension = join(work, "minigzip");
const text = join(work, "text");

/** zlib's minigzip, linked to its own shared libz, built from Debian's source package with musl-gcc, in an Alpine-like root. */
beforeAll(() => {
  const build = join(work, "zlib");
  cpSync(debianSource("zlib"), build, { recursive: true });
  sh("CC=musl-gcc ./configure --prefix=/usr >/dev/null && make -s -j2 minigzipsh >/dev/null", { cwd: build });
  for (const folder of ["usr/bin", "usr/lib", "lib"]) mkdirSync(join(root, folder), { recursive: true });
  sh(`cp ${build}/minigzipsh ${root}/usr/bin/minigzip && cp -a ${build}/libz.so* ${root}/usr/lib/`);
  sh(`cp /usr/lib/*-linux-musl/libc.so ${root}/lib/${loader()}`);
  writeFileSync(text, "the quick brown fox\n".repeat(5000));
  const { status, stderr } = flixFolder(extension, root, "minigzip", ["/usr/bin/minigzip"]);
  expect(stderr).not.toMatch(/error|warning/);
  expect(status).toBe(0);
});

const loader = (): string => `ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`;

test("the program needs a shared library of its own, so the test proves something", () => {
  expect(sh(`readelf -d ${root}/usr/bin/minigzip`)).toMatch(/NEEDED.*libz\.so\.1/);
});

test("only the interpreter of the program changes; its folders stand in the path file beside the private loader", () => {
  const sysroot = join(extension, "usr/lib/flixwrap/minigzip");
  expect(sh(`readelf -lW ${extension}/usr/bin/minigzip`)).toContain(
    `interpreter: /usr/lib/flixwrap/minigzip/lib/${loader()}`,
  );
  const pathFile = join(sysroot, "etc", basename(loader(), ".so.1") + ".path");
  expect(readFileSync(pathFile, "utf8")).toBe("/usr/lib/flixwrap/minigzip/usr/lib\n");
  expect(readdirSync(join(sysroot, "usr/lib")).toSorted()).toEqual(
    [sh(`readlink ${root}/usr/lib/libz.so.1`).trim(), "libz.so.1"].toSorted(),
  );
});

test.each([
  ["plain", {}],
  // musl's own loader asks this variable before anything else.
  ["under a hostile LD_LIBRARY_PATH", { LD_LIBRARY_PATH: "/opt/trap:/usr/lib/trap" }],
])("it compresses on a host without musl, %s", (name, env) => {
  const host = busyboxHost(join(work, `host-${name.length}`));
  for (const folder of ["opt/trap", "usr/lib/trap", "lib", "usr/local/lib", "etc"]) {
    mkdirSync(join(host.root, folder), { recursive: true });
    writeFileSync(join(host.root, folder, "libz.so.1"), "not a library");
  }
  writeFileSync(join(host.root, "etc", basename(loader(), ".so.1") + ".path"), "/opt/trap\n");
  merge(host, extension);
  const { status, stdout, stderr } = host.run(["sh", "-c", `/usr/bin/minigzip < ${text} > ${work}/text.gz`], {
    env,
    shared: [work],
  });
  expect(`${stdout}${stderr}`).toBe("");
  expect(status).toBe(0);
  expect(gunzipSync(readFileSync(join(work, "text.gz"))).toString()).toBe(readFileSync(text, "utf8"));
});

test("without the edit of the private loader the hostile variable would win", () => {
  const host = busyboxHost(join(work, "control"));
  merge(host, extension);
  mkdirSync(join(host.root, "opt/trap"), { recursive: true });
  writeFileSync(join(host.root, "opt/trap/libz.so.1"), "not a library");
  sh(`cp ${root}/lib/${loader()} ${host.root}/usr/lib/flixwrap/minigzip/lib/${loader()}`);
  const { status } = host.run(["/usr/bin/minigzip"], { env: { LD_LIBRARY_PATH: "/opt/trap" } });
  expect(status).not.toBe(0);
});
