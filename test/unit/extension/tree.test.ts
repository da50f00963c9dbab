import { describe, expect, test } from "vitest";
import { FlixwrapError } from "../../../src/core/errors.ts";
import { extPath, rootPath } from "../../../src/core/paths.ts";
import { type TreeOptions, buildTree } from "../../../src/extension/tree.ts";
import { memoryRootfs } from "../../../src/oci/memory-rootfs.ts";
import { copyPlan, folder, link, write } from "./plans.ts";

const options: TreeOptions = { name: "t" };
const text = (tree: ReturnType<typeof buildTree>, path: string) => {
  const node = tree.nodes.get(extPath(path))!;
  return node.type === "file" ? Buffer.from(node.content.read(0, node.content.size)).toString() : node.type;
};

function problem(run: () => unknown): FlixwrapError {
  try {
    run();
  } catch (error) {
    if (error instanceof FlixwrapError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("adds parents as 0755 of root, sorts by bytes, parents first", () => {
  const tree = buildTree(
    copyPlan({}, [
      write("/usr/lib/a/z", ""),
      write("/usr/lib/a-b", ""),
      folder("/usr/lib/a", 0o750),
      link("/opt/x", "y"),
    ]),
    options,
  );
  expect([...tree.nodes].map(([path, node]) => [path, node.type, node.mode, node.uid, node.gid])).toEqual([
    ["/", "directory", 0o755, 0, 0],
    ["/opt", "directory", 0o755, 0, 0],
    ["/opt/x", "symlink", 0o777, 0, 0],
    ["/usr", "directory", 0o755, 0, 0],
    ["/usr/lib", "directory", 0o755, 0, 0],
    ["/usr/lib/a", "directory", 0o750, 0, 0],
    ["/usr/lib/a-b", "file", 0o644, 0, 0],
    ["/usr/lib/a/z", "file", 0o644, 0, 0],
  ]);
});

test("copies attributes of the root; owners only when they are to be kept", () => {
  const xattrs = new Map([
    ["security.capability", Buffer.from([1, 0, 0, 2, 255])],
    ["security.selinux", Buffer.from("x")],
    ["user.note", Buffer.from("x")],
    ["trusted.overlay.opaque", Buffer.from("y")],
  ]);
  const plan = copyPlan({ "/usr/bin/p": { content: "p", mode: 0o510, uid: 7, gid: 8, xattrs } });
  for (const [ownership, uid, gid] of [
    ["root", 0, 0],
    ["keep", 7, 8],
  ] as const) {
    const node = buildTree(plan, { ...options, ownership }).nodes.get(extPath("/usr/bin/p"))!;
    expect(node).toMatchObject({ type: "file", mode: 0o510, uid, gid });
    expect([...node.xattrs]).toEqual([["security.capability", Buffer.from([1, 0, 0, 2, 255])]]);
  }
});

test("patches over the source and leaves the source alone", () => {
  const source = memoryRootfs({ "/usr/bin/p": "0123456789" });
  const from = source.lookup(rootPath("/usr/bin/p"))!;
  const writes = [
    { offset: 2, bytes: Buffer.from("AB") },
    { offset: 11, bytes: Buffer.from("C") },
  ];
  const tree = buildTree(
    {
      source,
      warnings: [],
      actions: [{ kind: "patch", from, to: extPath("/usr/bin/p"), writes, size: 13, edits: [], why: "entry" }],
    },
    options,
  );
  expect(text(tree, "/usr/bin/p")).toBe("01AB456789\0C\0");
  expect(Buffer.from(source.open(from).read(0, 99)).toString()).toBe("0123456789");
});

describe("refuses, naming every path", () => {
  const suid = (mode: number, uid = 0, gid = 0) => ({ content: "", mode, uid, gid });
  const rows: [string, Parameters<typeof copyPlan>, Partial<TreeOptions>, string, string[]][] = [
    [
      "paths outside /usr and /opt",
      [{ "/etc/x": "", "/usr/ok": "", "/usrlocal": "", "/bin/y": "" }],
      {},
      "extension-outside",
      ["/etc/x", "/usrlocal", "/bin/y"],
    ],
    ["different contents", [{ "/usr/a": "1" }, [write("/usr/a", "2")]], {}, "extension-conflict", ["/usr/a"]],
    [
      "different modes",
      [{}, [write("/usr/a", "1"), write("/usr/a", "1", 0o755)]],
      {},
      "extension-conflict",
      ["/usr/a"],
    ],
    ["different types", [{}, [write("/usr/a", "b"), link("/usr/a", "b")]], {}, "extension-conflict", ["/usr/a"]],
    [
      "a file as a parent",
      [{}, [write("/usr/a", ""), write("/usr/a/b/c", "")]],
      {},
      "extension-conflict",
      ["/usr/a/b/c"],
    ],
    [
      "a file as the parent of many, in one line",
      [{}, [write("/usr/a", ""), write("/usr/a/b/c", ""), write("/usr/a/d", ""), write("/usr/a/e", "")]],
      {},
      "extension-conflict",
      ["stands in its way, and in that of 2 more: /usr/a is no folder"],
    ],
    [
      "a link as a parent",
      [{}, [link("/usr/a", "/etc"), write("/usr/a/b", "")]],
      {},
      "extension-conflict",
      ["/usr/a/b"],
    ],
    ["devices", [{ "/usr/null": { type: "character-device" } }], {}, "extension-node-type", ["/usr/null"]],
    ["fifos", [{ "/usr/pipe": { type: "fifo" } }], {}, "extension-node-type", ["/usr/pipe"]],
    ["names no disk can hold", [{ [`/usr/${"x".repeat(256)}`]: "" }], {}, "extension-path", ["xxx"]],
    [
      "setuid and setgid files",
      [{ "/usr/bin/su": suid(0o4755), "/usr/bin/wall": suid(0o2755), "/usr/bin/ls": suid(0o755) }],
      {},
      "extension-suid",
      ["/usr/bin/su (mode 4755)", "/usr/bin/wall (mode 2755)"],
    ],
    [
      "setgid of a group that would become root",
      [{ "/usr/bin/wall": suid(0o2755, 0, 5) }],
      { allowSuid: true },
      "extension-suid",
      ["/usr/bin/wall"],
    ],
    [
      "setuid of a user that would become root",
      [{ "/usr/bin/man": suid(0o4755, 6) }],
      { allowSuid: true },
      "extension-suid",
      ["/usr/bin/man"],
    ],
  ];
  test.each(rows)("%s", (_, plan, extra, code, paths) => {
    const error = problem(() => buildTree(copyPlan(...plan), { ...options, ...extra }));
    expect(error.code).toBe(code);
    const told = [error.facts.where ?? "", ...(error.facts.items ?? [])];
    for (const path of paths) expect(told.filter((line) => line.includes(path))).not.toEqual([]);
    if (paths.length > 1) expect(error.facts.items).toHaveLength(paths.length);
  });
});

test("lets setuid pass with a permission, with its owner when owners are kept", () => {
  const plan = copyPlan({ "/usr/bin/man": { content: "", mode: 0o4755, uid: 6, gid: 0 } });
  const tree = buildTree(plan, { ...options, allowSuid: true, ownership: "keep" });
  expect(tree.nodes.get(extPath("/usr/bin/man"))).toMatchObject({ mode: 0o4755, uid: 6 });
});

test("the same thing asked for twice is no conflict", () => {
  const plan = copyPlan({ "/usr/a": "1" }, [write("/usr/a", "1"), link("/usr/l", "a"), link("/usr/l", "a")]);
  expect(text(buildTree(plan, options), "/usr/a")).toBe("1");
});
