import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { rootPath } from "../../../src/core/paths.ts";
import { type CacheEntry, acceptsEntry, readLibraryCache } from "../../../src/loader/library-cache.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";

const roots = new FixtureRoots("glibc");
afterAll(() => roots.remove());

const nodes: Readonly<Record<string, FixtureNode>> = {
  "/etc/ld.so.conf": {
    text: "# first\n/opt/one # comment\n  include ld.so.conf.d/*.conf\nhwcap 1 nosegneg\n/opt/none\n/lib\n",
  },
  "/etc/ld.so.conf.d/b.conf": { text: "/opt/two/\n" },
  "/etc/ld.so.conf.d/a.conf": { text: "/opt/three\ninclude ../more/?.conf /etc/even/more.conf\n" },
  "/etc/ld.so.conf.d/.hidden.conf": { text: "/opt/hidden\n" },
  "/etc/more/x.conf": { text: "/opt/linked\n" },
  "/etc/even/more.conf": { text: "/opt/four\ninclude /etc/ld.so.conf\n" },
  "/opt/linked": { link: "three" },
  "/opt/hidden/libhidden.so.1": {},
  "/bin/p": {
    needs: ["liba.so.1", "libc1.so.2", "libnosoname.so.3", "libe.so.1", "libf.so.1", "libonly.so.9"],
  },
  // A file under another name than its soname; two versions of one soname; the link for ld(1).
  "/opt/one/liba.so.1.2.3": { soname: "liba.so.1" },
  "/opt/one/liba.so.1.10.0": { soname: "liba.so.1" },
  "/opt/one/liba.so": { link: "liba.so.1.2.3" },
  "/opt/two/liba.so.1": { soname: "liba.so.1" },
  "/opt/three/libc1.so.2": { link: "libc1.so.2.0" },
  "/opt/three/libc1.so.2.0": { soname: "libc1.so.2" },
  "/opt/three/libnosoname.so.3": {},
  // What is no library, or not for this machine.
  "/opt/three/plugin.so": { soname: "plugin.so" },
  "/opt/three/libtext.so.1": { text: "no ELF file" },
  "/opt/three/libforeign.so.1": { soname: "libforeign.so.1", bytes: { 4: 1 } },
  "/opt/three/libe.so.1-gdb.py": { text: "" },
  "/opt/three/libdangling.so.1": { link: "none" },
  "/opt/four/libe.so.1": { link: "elsewhere.so" },
  "/opt/four/elsewhere.so": { soname: "libe.so.1" },
  "/opt/four/libf-2.so": { soname: "libf.so.1" },
  "/lib/libonly.so.9": {},
};

function listCache(root: string): string[] {
  const { stdout } = roots.run(root, ["/sbin/ldconfig", "-p"]);
  return [...stdout.matchAll(/^\t(\S+) \(.*\) => (.*)$/gm)].map(([, name, path]) => `${name} => ${path}`);
}

function readCache(root: string, endian: "little" | "big" = "little"): readonly CacheEntry[] | undefined {
  const rootfs = openFolder(root);
  return readLibraryCache(rootfs.open(rootfs.lookup(rootPath("/etc/ld.so.cache"))!), endian);
}

describe("the library cache", () => {
  test.each(["new", "compat"])("reads what ldconfig wrote, format %s", (format) => {
    const root = roots.build(nodes);
    roots.copyIn(root, "/sbin/ldconfig");
    roots.run(root, ["/sbin/ldconfig", "-c", format]);
    const lines = listCache(root);
    expect(lines.length).toBeGreaterThan(6);
    const entries = readCache(root);
    expect(entries?.map(({ name, path }) => `${name} => ${path}`)).toEqual(lines);
    const machine = { bits: 64, endian: "little", machine: 62 } as const;
    expect(entries?.every(({ flags }) => acceptsEntry(flags, machine))).toBe(true);
    expect(readCache(root, "big")).toBeUndefined();
  });

  test("reads one of many real libraries", () => {
    const folder = "/usr/lib/x86_64-linux-gnu";
    const root = roots.build({ "/etc/ld.so.conf": { text: `${folder}\n` } });
    const libraries = readdirSync(folder).filter((name) => /^lib.*\.so\.\d+$/.test(name));
    const small = libraries.filter((name) => statSync(join(folder, name)).size < 100_000);
    for (const name of small) roots.copyIn(root, join(folder, name));
    roots.copyIn(root, "/sbin/ldconfig");
    roots.run(root, ["/sbin/ldconfig", "-X"]);
    const lines = listCache(root);
    expect(lines.length).toBeGreaterThan(small.length / 2);
    expect(readCache(root)?.map(({ name, path }) => `${name} => ${path}`)).toEqual(lines);
  });

  test("a damaged cache is as good as none", () => {
    const bytes = Buffer.alloc(96);
    bytes.write("glibc-ld.so.cache1.1", "latin1");
    bytes.writeUInt32LE(1, 20);
    expect(readLibraryCache(memorySource(bytes), "little")).toHaveLength(1);
    bytes.writeUInt32LE(1000, 20);
    expect(readLibraryCache(memorySource(bytes), "little")).toBeUndefined();
    expect(readLibraryCache(memorySource(bytes.subarray(0, 30)), "little")).toBeUndefined();
    expect(readLibraryCache(memorySource(new Uint8Array()), "little")).toBeUndefined();
  });
});

test("a root without a cache finds through ld.so.conf what it would find after ldconfig, and says so", () => {
  const bare = resolveClosure(openFolder(roots.build(nodes)), [rootPath("/bin/p")]);
  const root = roots.build(nodes);
  roots.copyIn(root, "/sbin/ldconfig");
  roots.run(root, ["/sbin/ldconfig"]);
  const found = bare.objects.filter(({ role }) => role === "library");
  expect(found.map(({ foundAs, reasons }) => `${reasons[0]!.name} => ${foundAs[0]}`)).toEqual(
    roots.list(root, "/bin/p").lines,
  );
  expect(found.map(({ node }) => node.path)).toContain("/opt/one/liba.so.1.10.0");
  expect(bare.missing).toEqual([]);
  expect(bare.warnings.filter((warning) => warning.includes("/etc/ld.so.conf")).length).toBe(5);
});
