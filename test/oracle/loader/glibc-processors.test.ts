import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { FixtureRoots } from "./fixture-root.ts";
import { runtimes } from "./runtimes.ts";
import { wordClosure } from "./listing.ts";

const roots = new FixtureRoots("glibc");
afterAll(() => roots.remove());

const levels = ["x86-64-v4", "x86-64-v3", "x86-64-v2"];
const variant = (level: string): string => `/opt/glibc-hwcaps/${level}`;

/** Variants of a library in a run path (v2, v3), in a default folder (v2) and in the cache (v3). */
const nodes = {
  "/etc/ld.so.conf": { text: "/srv/lib\n" },
  "/bin/p": { needs: ["liba.so", "libb.so.1", "libd.so.1"], runpath: "/opt" },
  "/opt/liba.so": {},
  [`${variant("x86-64-v2")}/liba.so`]: { needs: ["libonly2.so"], runpath: "/opt" },
  [`${variant("x86-64-v3")}/liba.so`]: {},
  "/opt/libonly2.so": {},
  "/lib/libb.so.1": { soname: "libb.so.1" },
  "/lib/glibc-hwcaps/x86-64-v2/libb.so.1": { soname: "libb.so.1" },
  "/srv/lib/libd.so.1": { soname: "libd.so.1" },
  "/srv/lib/glibc-hwcaps/x86-64-v3/libd.so.1": { soname: "libd.so.1" },
};

describe("glibc-hwcaps, against the loader of this machine", () => {
  const root = roots.build(nodes);
  roots.copyIn(root, "/sbin/ldconfig");
  roots.run(root, ["/sbin/ldconfig"]);
  const help = roots.run(root, [runtimes.glibc.interpreter, "--help"]).stdout;
  const active = levels.filter((level) => help.includes(`${level} (supported, searched)`));
  const rootfs = openFolder(root);
  const program = rootPath("/bin/p");

  test.each([
    { title: "all levels of this processor", mask: levels },
    { title: "up to v2", mask: ["x86-64-v2"] },
    { title: "v3 and v2", mask: ["x86-64-v3", "x86-64-v2"] },
    { title: "baseline", mask: [] },
  ])("$title", ({ mask }) => {
    const live = roots.list(root, "/bin/p", { options: ["--glibc-hwcaps-mask", mask.join(":")] });
    expect(live.lines.length).toBeGreaterThanOrEqual(3);
    const closure = resolveClosure(rootfs, [program], { hwcaps: mask.filter((level) => active.includes(level)) });
    expect(wordClosure(closure).toSorted()).toEqual(live.lines.toSorted());
  });

  test("every processor's variant is in the closure when all are asked for", () => {
    const closure = resolveClosure(rootfs, [program], { hwcaps: "all" });
    const found = new Set(closure.objects.map(({ node }) => node.path));
    const libraries = Object.keys(nodes).filter((path) => path.includes(".so") && !path.startsWith("/etc"));
    expect(libraries.filter((path) => !found.has(rootPath(path)))).toEqual([]);
  });

  test("none of them by default", () => {
    const closure = resolveClosure(rootfs, [program]);
    expect(closure.missing).toEqual([]);
    expect(closure.objects.filter(({ node }) => node.path.includes("hwcaps"))).toEqual([]);
  });
});
