import { describe, expect, test } from "vitest";
import { muslPathFile, readCompiledIn } from "../../../src/loader/index.ts";
import { source } from "./fake-root.ts";

const glibcMagic = "glibc-ld.so.cache1.1";

describe("what is compiled into a loader", () => {
  test.each([
    {
      title: "Fedora: lib64",
      text: `xx\0/lib64/\0/usr/lib64/\0\0LIB\0lib64\0/etc/ld.so.cache\0${glibcMagic}\0ld.so (GNU libc) stable release version 2.41.\n\0`,
      wanted: {
        systemFolders: ["/lib64/", "/usr/lib64/"],
        lib: "lib64",
        cachePath: "/etc/ld.so.cache",
        legacyHwcaps: false,
      },
    },
    {
      title: "Arch: one folder",
      text: `\0/usr/lib/\0lib\0/etc/ld.so.cache\0${glibcMagic}\0ld.so (GNU libc) stable release version 2.36.\n\0`,
      wanted: { systemFolders: ["/usr/lib/"], lib: "lib", cachePath: "/etc/ld.so.cache", legacyHwcaps: true },
    },
    {
      title: "Nix: all below one prefix",
      text: `\0/nix/store/abc-glibc/lib/\0lib\0/nix/store/abc-glibc/etc/ld.so.cache\0${glibcMagic}\0`,
      wanted: {
        systemFolders: ["/nix/store/abc-glibc/lib/"],
        cachePath: "/nix/store/abc-glibc/etc/ld.so.cache",
        legacyHwcaps: true,
      },
    },
    {
      title: "Debian's armhf: a number right before the folders",
      text: `\0\x10\x03\x02\x01/lib/arm-linux-gnueabihf/\0/lib/\0lib/arm-linux-gnueabihf\0/etc/ld.so.cache\0${glibcMagic}\0`,
      wanted: {
        systemFolders: ["/lib/arm-linux-gnueabihf/", "/lib/"],
        lib: "lib/arm-linux-gnueabihf",
        cachePath: "/etc/ld.so.cache",
        legacyHwcaps: true,
      },
    },
    {
      title: "a sealed copy: no folder, no cache",
      text: `\0/sys////\0/sys////////\0\0LIB\0lib64\0/dev/null/ld.so.\0${glibcMagic}\0 release version 2.40.\0`,
      wanted: { systemFolders: [], legacyHwcaps: false },
    },
  ])("$title", ({ text, wanted }) => {
    expect(readCompiledIn(source(text))).toEqual({ family: "glibc", ...wanted });
  });

  test("musl", () => {
    expect(readCompiledIn(source("\0/lib:/usr/local/lib:/usr/lib\0\0%.*s/etc/ld-musl-armhf.path\0"))).toEqual({
      family: "musl",
      arch: "armhf",
      systemFolders: ["/lib", "/usr/local/lib", "/usr/lib"],
    });
  });

  test.each(["", "\0/lib/\0", "/etc/ld.so.cache"])("something else: %j", (text) => {
    expect(readCompiledIn(source(text))).toBeUndefined();
  });
});

test.each([
  ["/lib/ld-musl-x86_64.so.1", "/etc/ld-musl-x86_64.path"],
  ["/usr/local/name/lib/ld", "/usr/local/name/etc/ld-musl-x86_64.path"],
  ["/ld", "/etc/ld-musl-x86_64.path"],
  ["/a//ld", "/a/etc/ld-musl-x86_64.path"],
  ["relative/lib/ld", "/etc/ld-musl-x86_64.path"],
])("musl's path file for %s", (interpreter, path) => {
  expect(muslPathFile(interpreter, "x86_64")).toBe(path);
});
