import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";
import { wordClosure } from "./listing.ts";
import { runtimes } from "./runtimes.ts";

const foreign = new FixtureRoots("aarch64");
const native = new FixtureRoots("glibc");
afterAll(() => {
  foreign.remove();
  native.remove();
});

const nodes: Readonly<Record<string, FixtureNode>> = {
  "/bin/p": {
    needs: ["liba.so", "libb.so", "libd.so", "libe.so", "libf.so", "libg.so", "libc.so.6", "libnone.so"],
    rpath: "/opt/$LIB:/opt/${PLATFORM}:$ORIGIN/../srv",
  },
  "/opt/lib/liba.so": {},
  "/opt/lib/aarch64-linux-gnu/liba.so": {},
  "/opt/aarch64/libb.so": { needs: ["libh.so"] },
  "/srv/libd.so": { bytes: { 18: 62 } },
  "/lib/aarch64-linux-gnu/libd.so": {},
  "/usr/lib/aarch64-linux-gnu/libe.so": {},
  "/lib/libf.so": {},
  "/usr/lib/libg.so": {},
  "/srv/libh.so": {},
};

describe("an aarch64 root, against its own loader under qemu", () => {
  test("finds the same", () => {
    const root = foreign.build(nodes);
    const live = foreign.list(root, "/bin/p");
    expect(live.lines.length).toBe(9);
    const closure = resolveClosure(openFolder(root), [rootPath("/bin/p")]);
    expect(wordClosure(closure).toSorted()).toEqual(live.lines.toSorted());
  });
});

test("programs of two machines in one root, each with its own loader and libraries", () => {
  const root = native.build({ "/usr/bin/native": { needs: ["liba.so", "libc.so.6"], runpath: "/opt/lib:/srv" } });
  foreign.buildInto(root, { ...nodes, "/srv/liba.so": { bytes: { 18: 62 } } });
  const closure = resolveClosure(openFolder(root), [rootPath("/usr/bin/native"), rootPath("/bin/p")]);
  expect(closure.processes.map(({ main, loader }) => [main, loader])).toEqual([
    ["/usr/bin/native", runtimes.glibc.interpreter],
    ["/bin/p", runtimes.aarch64.interpreter],
  ]);
  const found = (machine: number): string[] =>
    closure.objects
      .filter(({ role, elf }) => role === "library" && elf.machine === machine)
      .map(({ node }) => node.path);
  expect(found(62)).toEqual(["/srv/liba.so", "/lib/x86_64-linux-gnu/libc.so.6"]);
  expect(found(183)).toContain("/lib/aarch64-linux-gnu/libc.so.6");
});
