import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { encodeName } from "../../../src/core/names.ts";
import { rootPath } from "../../../src/core/paths.ts";
import { compareNames } from "../../../src/oci/backed-rootfs.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { parseGetfattr } from "../../../src/oci/folder-xattrs.ts";
import { memoryRootfs } from "../../../src/oci/memory-rootfs.ts";
import type { Rootfs } from "../../../src/oci/rootfs.ts";

const temporary = mkdtempSync(join(tmpdir(), "oci-rootfs-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

const folders = ["usr", "usr/lib", "usr/lib/sub", "run", "etc"];
const files = { "usr/lib/libx.so.1": "libx", "etc/passwd": "inside", "usr/lib/sub/f": "sub" };
const links: Record<string, string> = {
  lib: "usr/lib",
  absolute: "/usr/lib",
  "usr/lib/libx.so": "libx.so.1",
  up: "../../../../etc/passwd",
  "usr/lib/sub/parent": "../../../etc/passwd",
  "usr/lib/sub/via": "../../../lib/sub/../libx.so",
  a: "b",
  b: "a",
  dangling: "nowhere/else",
  slash: "usr/lib/",
  "file-slash": "etc/passwd/",
};
for (let n = 0; n < 41; n++) links[`chain${n}`] = n === 0 ? "etc/passwd" : `chain${n - 1}`;

const folderRoot = (): Rootfs => {
  const root = join(temporary, "root");
  mkdirSync(root);
  for (const path of folders) mkdirSync(join(root, path));
  for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text);
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(root, path));
  linkSync(join(root, "etc/passwd"), join(root, "etc/hard"));
  return openFolder(root);
};
const memoryRoot = (): Rootfs =>
  memoryRootfs({
    ...Object.fromEntries(folders.map((path) => [path, { type: "directory" as const }])),
    ...files,
    ...Object.fromEntries(Object.entries(links).map(([path, target]) => [path, { target }])),
    "etc/hard": { hardlink: "/etc/passwd" },
  });

describe.each([
  ["folder", folderRoot()],
  ["memory", memoryRoot()],
])("paths in a %s root", (_, root) => {
  // Expected values: what chroot(1) and realpath(1) say of the same tree.
  it.each([
    ["/lib/libx.so", "/usr/lib/libx.so.1"],
    ["/absolute/libx.so.1", "/usr/lib/libx.so.1"],
    ["/up", "/etc/passwd"],
    ["/usr/lib/sub/parent", "/etc/passwd"],
    ["/usr/lib/sub/via", "/usr/lib/libx.so.1"],
    ["/slash/sub", "/usr/lib/sub"],
    ["/slash", "/usr/lib"],
    ["/", "/"],
    ["/chain39", "/etc/passwd"],
  ])("%s resolves to %s", (path, real) => {
    expect(root.resolve(rootPath(path))?.path).toBe(real);
  });

  it.each(["/nowhere", "/dangling", "/etc/passwd/below", "/file-slash/below", "/lib/libx.so/below"])(
    "%s is not there",
    (path) => {
      expect(root.resolve(rootPath(path))).toBeUndefined();
    },
  );

  it.each(["/a", "/a/below", "/chain40"])("%s takes too many links", (path) => {
    expect(() => root.resolve(rootPath(path))).toThrow(expect.objectContaining({ code: "oci-link-loop" }));
  });

  it("looks up a link itself, below links", () => {
    expect(root.lookup(rootPath("/lib/libx.so"))).toMatchObject({
      path: "/usr/lib/libx.so",
      type: "symlink",
      target: "libx.so.1",
      size: 0,
    });
    expect(root.lookup(rootPath("/a"))?.target).toBe("b");
  });

  it("reads ranges and never past the end", () => {
    const source = root.open(root.resolve(rootPath("/up"))!);
    expect(source.size).toBe(6);
    expect(Buffer.from(source.read(2, 100)).toString()).toBe("side");
    expect(source.read(10, 5)).toHaveLength(0);
  });

  it("streams whole contents", async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of root.open(root.resolve(rootPath("/lib/libx.so"))!).stream()) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("libx");
  });

  it("knows hard links by their identity", () => {
    const [one, two, other] = ["/etc/passwd", "/etc/hard", "/usr/lib/libx.so.1"].map((path) =>
      root.lookup(rootPath(path)),
    );
    expect(one!.identity).toBe(two!.identity);
    expect(one!.identity).not.toBe(other!.identity);
  });

  it("lists folders, also through links, and nothing else", () => {
    expect(root.list(rootPath("/lib"))).toEqual(["libx.so", "libx.so.1", "sub"]);
    expect(root.list(rootPath("/etc/passwd"))).toEqual([]);
    expect(root.list(rootPath("/nowhere"))).toEqual([]);
  });

  it("walks parents first without following links", () => {
    expect(Array.from(root.walk(rootPath("/usr")), (node) => node.path)).toEqual([
      "/usr",
      "/usr/lib",
      "/usr/lib/libx.so",
      "/usr/lib/libx.so.1",
      "/usr/lib/sub",
      "/usr/lib/sub/f",
      "/usr/lib/sub/parent",
      "/usr/lib/sub/via",
    ]);
    expect(Array.from(root.walk(rootPath("/lib")), (node) => node.path)).toEqual(["/lib"]);
  });

  it("opens regular files only", () => {
    expect(() => root.open(root.lookup(rootPath("/etc"))!)).toThrow(
      expect.objectContaining({ code: "oci-not-a-file" }),
    );
  });
});

describe("a folder root", () => {
  it("keeps names, modes, times and attributes as they are", () => {
    const root = mkdtempSync(join(temporary, "attributes-"));
    const odd = Buffer.concat([Buffer.from(`${root}/caf`), Buffer.of(0xe9), Buffer.from("\n")]);
    writeFileSync(odd, "x", { mode: 0o644 });
    writeFileSync(`${root}/set`, "");
    execFileSync("chmod", ["4755", `${root}/set`]);
    execFileSync("touch", ["-d", "1969-12-31T23:59:58.25Z", `${root}/set`]);
    // A child's arguments are strings in Node: the shell's glob names the odd file.
    execFileSync("sh", ["-c", `setfattr -n user.k -v 0x00ff0a "$1"/caf*`, "sh", root]);
    const folder = openFolder(root);
    const [name, set] = folder.list(rootPath("/"));
    expect(encodeName(name!).toString("latin1")).toBe("caf\xe9\n");
    expect(set).toBe("set");
    expect(folder.lookup(rootPath("/set"))).toMatchObject({
      mode: 0o4755,
      mtime: { seconds: -2, nanoseconds: 250_000_000 },
    });
    const node = folder.lookup(rootPath(`/${name}`))!;
    expect([...node.xattrs]).toEqual([["user.k", Buffer.of(0, 0xff, 0x0a)]]);
  });

  it("is refused when it is none", () => {
    expect(() => openFolder(join(temporary, "none"))).toThrow(expect.objectContaining({ code: "oci-no-folder" }));
  });
});

it("reads getfattr's listing, escapes and empty values included", () => {
  const listing =
    "# file: .\nuser.root=0x01\n\n# file: a\\012b\\134\nsecurity.capability=0x0100\nuser.none\nsecurity.selinux=0x00\n\n";
  const found = parseGetfattr(Buffer.from(listing));
  expect([...found.keys()]).toEqual(["/", "/a\nb\\"]);
  expect([...found.get(rootPath("/a\nb\\"))!]).toEqual([
    ["security.capability", Buffer.of(1, 0)],
    ["user.none", Buffer.alloc(0)],
  ]);
});

it("sorts names by bytes, not by UTF-16 units", () => {
  // U+FF5E is EF BD 9E, U+1F600 is F0 9F 98 80, a lone byte E9 stands between A.. and EF.
  const names = ["\u{1f600}", "\uff5e", "\udce9", "z", "Z"];
  const bytes = [...names].sort((a, b) => Buffer.compare(encodeName(a), encodeName(b)));
  expect([...names].sort(compareNames)).toEqual(bytes);
});
