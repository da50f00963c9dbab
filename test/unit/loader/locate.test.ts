import { describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { openLocator } from "../../../src/loader/locate.ts";
import { memoryRootfs } from "../../../src/oci/memory-rootfs.ts";

const rootfs = memoryRootfs({
  "/usr/lib/liba.so.1.2": "a",
  "/usr/lib/liba.so": { target: "liba.so.1.2" },
  "/lib": { target: "usr/lib" },
  "/opt/abs": { target: "/usr/lib/../lib" },
  "/opt/out": { target: "../../../../usr/lib/liba.so" },
  "/opt/loop": { target: "loop" },
  "/opt/dangling": { target: "nothing" },
});

describe("what open(2) would find", () => {
  test.each([
    ["/lib/liba.so", "/lib/liba.so", "/usr/lib/liba.so.1.2"],
    ["//lib/.//liba.so", "/lib/liba.so", "/usr/lib/liba.so.1.2"],
    ["/opt/abs/liba.so", "/opt/abs/liba.so", "/usr/lib/liba.so.1.2"],
    // The parent of /lib is /usr, because /lib is a link.
    ["/lib/../lib/liba.so", "/usr/lib/liba.so", "/usr/lib/liba.so.1.2"],
    ["/../../lib/liba.so", "/lib/liba.so", "/usr/lib/liba.so.1.2"],
    ["/opt/out", "/opt/out", "/usr/lib/liba.so.1.2"],
    ["liba.so", "/lib/liba.so", "/usr/lib/liba.so.1.2"],
    ["/", "/", "/"],
  ])("%s", (path, asFound, real) => {
    const location = openLocator(rootfs, rootPath("/lib"))(path);
    expect(location).toMatchObject({ kind: "node", path: asFound, node: { path: real } });
  });

  test.each([
    ["/opt/dangling", "absent"],
    ["/none/../lib/liba.so", "absent"],
    ["/usr/lib/liba.so/x", "absent"],
    ["/opt/loop", "loop"],
    ["/opt/loop/../x", "loop"],
    [`/${"a/".repeat(2100)}x`, "absent"],
  ])("%s: %s", (path, kind) => {
    expect(openLocator(rootfs)(path)).toEqual({ kind });
  });

  test("a relative path leads nowhere without a working folder", () => {
    expect(openLocator(rootfs)("liba.so")).toEqual({ kind: "absent" });
  });
});
