import { expect, test } from "vitest";
import { parseConf, readConfFolders } from "../../../src/loader/ld-so-conf.ts";
import { memoryRootfs } from "../../../src/oci/memory-rootfs.ts";

test.each([
  ["/usr/lib # comment", [{ kind: "folder", path: "/usr/lib" }]],
  ["  /a b/c  \n\n#x\n", [{ kind: "folder", path: "/a b/c" }]],
  ["include a.conf\tb/*.conf", [{ kind: "include", patterns: ["a.conf", "b/*.conf"] }]],
  ["hwcap 0 nosegneg", []],
  ["/usr/lib=libc6", [{ kind: "folder", path: "/usr/lib" }]],
  ["relative/lib", []],
  ["includes", []],
])("%j", (text, lines) => {
  expect(parseConf(text)).toEqual(lines);
});

test("includes: order of names, relative to the including file, through links, each file once", () => {
  const rootfs = memoryRootfs({
    "/etc/ld.so.conf": "include ld.so.conf.d/*.conf\n/last\n",
    "/etc/ld.so.conf.d": { target: "/opt/conf" },
    "/opt/conf/b.conf": "/b\ninclude /etc/ld.so.conf\n",
    "/opt/conf/a.conf": "/a\ninclude sub/x\n",
    "/opt/conf/.c.conf": "/hidden\n",
    "/opt/conf/d.txt": "/text\n",
    "/opt/conf/sub/x": "/x/\n",
  });
  expect(readConfFolders(rootfs)).toEqual(["/a", "/x", "/b", "/last"]);
});

test("a loop of folders ends", () => {
  const rootfs = memoryRootfs({
    "/etc/ld.so.conf": `include /${"*/".repeat(40)}x\n/end\n`,
    "/a": { target: "/" },
    "/b": { target: "/" },
    "/c": { target: "/" },
  });
  expect(readConfFolders(rootfs)).toEqual(["/end"]);
});
