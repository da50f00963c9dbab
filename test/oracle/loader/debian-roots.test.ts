import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { isElf, readElf } from "../../../src/elf/index.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { indexFolders } from "../../../src/loader/ldconfig.ts";
import { readLibraryCache } from "../../../src/loader/library-cache.ts";
import { openLoaders } from "../../../src/loader/loaders.ts";
import { openLocator } from "../../../src/loader/locate.ts";
import { openObjects } from "../../../src/loader/objects.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import type { Rootfs } from "../../../src/oci/rootfs.ts";
import { debianRoot } from "../../support/debian-root.ts";
import { FixtureRoots } from "./fixture-root.ts";
import { wordClosure } from "./listing.ts";
import { type Runtime, runtimes } from "./runtimes.ts";

const work = mkdtempSync(join(tmpdir(), "flixwrap-roots-"));
afterAll(() => rmSync(work, { recursive: true }));

const rows = [
  { architecture: "amd64", runtime: "glibc", endian: "little", programs: 40 },
  { architecture: "arm64", runtime: "aarch64", endian: "little", programs: 8 },
  { architecture: "s390x", runtime: "s390x", endian: "big", programs: 8 },
] as const;

describe.each(rows)("Debian's root for $architecture, against its own programs", (row) => {
  const { architecture, endian } = row;
  const roots = new FixtureRoots(row.runtime);
  afterAll(() => roots.remove());
  const { interpreter, emulator }: Runtime = runtimes[row.runtime];
  const root = join(work, architecture);
  let rootfs: Rootfs;

  beforeAll(() => {
    // Shared roots are not written into; these are the same files under other names.
    const packages = ["coreutils", "curl", "libc-bin"];
    const shared = debianRoot(packages, architecture === "amd64" ? {} : { architecture });
    execFileSync("cp", ["-al", shared, root]);
    mkdirSync(join(root, "proc"), { recursive: true });
    if (emulator !== undefined) roots.copyIn(root, emulator);
    rootfs = openFolder(root);
  }, 600_000);

  const ldconfig = (...options: string[]): string =>
    roots.run(root, [...(emulator === undefined ? [] : [emulator]), "/sbin/ldconfig", ...options]).stdout;
  const index = () => {
    const objects = openObjects(rootfs, () => undefined);
    const loader = openLoaders(rootfs, openLocator(rootfs), objects, (same) => same).named(interpreter)!;
    return indexFolders(rootfs, loader, (node) => objects.open(node, loader.elf));
  };

  test("what ldconfig would put into the cache, folder by folder", () => {
    // "/lib/TRIPLET: (from …)", then "	libc.so.6 -> libc.so.6" lines; -N and -X: nothing is written.
    const live: string[] = [];
    let folder = "";
    for (const line of ldconfig("-v", "-N", "-X").split("\n")) {
      folder = /^(\/.*?): \(/.exec(line)?.[1] ?? folder;
      const [, name, file] = /^\t(\S+) -> (\S+)/.exec(line) ?? [];
      if (name !== undefined) live.push(`${folder}/${name} -> ${file}`);
    }
    expect(live.length).toBeGreaterThan(20);
    // It does not tell of links under a name of their own, as that of the loader.
    const files = index().filter(({ file }) => rootfs.lookup(rootPath(file!))?.type === "file");
    const told = files.map(({ path, file }) => `${path} -> ${file!.slice(file!.lastIndexOf("/") + 1)}`);
    expect(told.toSorted()).toEqual(live.toSorted());
  });

  test("the cache that ldconfig wrote", () => {
    ldconfig("-X");
    const source = rootfs.open(rootfs.lookup(rootPath("/etc/ld.so.cache"))!);
    const lines = [...ldconfig("-p").matchAll(/^\t(\S+) \(.*\) => (.*)$/gm)].map(([, name, path]) => `${name} ${path}`);
    expect(lines.length).toBeGreaterThan(20);
    expect(readLibraryCache(source, endian)?.map(({ name, path }) => `${name} ${path}`)).toEqual(lines);
    expect(
      index()
        .map(({ name, path }) => `${name} ${path}`)
        .toSorted(),
    ).toEqual(lines.toSorted());
    expect(readLibraryCache(source, endian === "big" ? "little" : "big")).toBeUndefined();
  });

  test(`the libraries of its programs, ${row.programs} of them`, () => {
    const all = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].flatMap((folder) =>
      rootfs.list(rootPath(folder)).flatMap((name) => {
        const node = rootfs.lookup(rootPath(`${folder}/${name}`));
        if (node?.type !== "file" || !isElf(rootfs.open(node))) return [];
        return readElf(rootfs.open(node), node.path).interpreter === undefined ? [] : [node.path];
      }),
    );
    // Those with many libraries among them.
    const chosen = all.filter(
      (path, at) => at % Math.ceil(all.length / row.programs) === 0 || /curl|apt-get/.test(path),
    );
    expect(chosen.length).toBeGreaterThanOrEqual(row.programs / 2);
    for (const path of chosen) {
      const live = roots.list(root, path);
      const closure = resolveClosure(rootfs, [path], { dlopen: "none" });
      expect({ path, lines: wordClosure(closure).toSorted() }).toEqual({ path, lines: live.lines.toSorted() });
      expect(closure.objects.length).toBeGreaterThan(1);
    }
  });
});
