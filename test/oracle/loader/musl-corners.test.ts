import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";
import { wordClosure } from "./listing.ts";

const roots = new FixtureRoots("musl");
afterAll(() => roots.remove());

interface Corner {
  readonly title: string;
  readonly root: Readonly<Record<string, FixtureNode>>;
  /** The loader, when a private copy is the program's. */
  readonly interpreter?: string;
  /** What the fixture is about: must be among the live loader's lines; "" for none at all. */
  readonly shows: string;
}

const pathFile = "/etc/ld-musl-x86_64.path";

const corners: readonly Corner[] = [
  {
    title: "DT_RPATH is inherited along the chain",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"] },
      "/opt/a/libb.so": {},
    },
    shows: "libb.so => /opt/a/libb.so",
  },
  {
    title: "DT_RUNPATH is inherited just so",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"], runpath: "/opt/none" },
      "/opt/a/libb.so": {},
    },
    shows: "libb.so => /opt/a/libb.so",
  },
  {
    title: "the default folders",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"] },
      "/usr/local/lib/liba.so": {},
      "/usr/lib/liba.so": {},
      "/usr/lib/libb.so": {},
    },
    shows: "liba.so => /usr/local/lib/liba.so",
  },
  {
    title: "the path file replaces the default folders; colons and newlines part it",
    root: {
      [pathFile]: { text: "/opt/none:/opt/a\n\n/opt/b\n" },
      "/bin/p": { needs: ["liba.so", "libb.so", "libd.so"] },
      "/opt/a/liba.so": {},
      "/opt/b/libb.so": {},
      "/usr/lib/libd.so": {},
    },
    shows: "libd.so => not found",
  },
  {
    title: "an empty path file leaves no folder",
    root: { [pathFile]: { text: "" }, "/bin/p": { needs: ["liba.so"] }, "/lib/liba.so": {} },
    shows: "liba.so => not found",
  },
  {
    title: "a private loader reads the path file two folders above itself",
    root: {
      [pathFile]: { text: "/usr/lib" },
      "/opt/name/etc/ld-musl-x86_64.path": { text: "/opt/name/lib" },
      "/opt/name/lib/ld-musl-x86_64.so.1": { hardlink: "/lib/ld-musl-x86_64.so.1" },
      "/bin/p": { needs: ["liba.so"], interpreter: "/opt/name/lib/ld-musl-x86_64.so.1" },
      "/usr/lib/liba.so": {},
      "/opt/name/lib/liba.so": {},
    },
    interpreter: "/opt/name/lib/ld-musl-x86_64.so.1",
    shows: "liba.so => /opt/name/lib/liba.so",
  },
  {
    title: "a private loader without a path file has the default folders",
    root: {
      [pathFile]: { text: "/opt/elsewhere" },
      "/opt/ld-musl.so": { hardlink: "/lib/ld-musl-x86_64.so.1" },
      "/bin/p": { needs: ["liba.so"], interpreter: "/opt/deep/../ld-musl.so" },
      "/opt/deep/x": { text: "" },
      "/usr/lib/liba.so": {},
    },
    interpreter: "/opt/deep/../ld-musl.so",
    shows: "liba.so => /usr/lib/liba.so",
  },
  {
    title: "a second C library is not loaded",
    root: {
      "/bin/p": { needs: ["/opt/libother.so"] },
      "/opt/libother.so": { code: "int __libc_start_main(void) { return 0; } int stdin;", needs: ["liba.so"] },
      "/usr/lib/liba.so": {},
    },
    shows: "",
  },
  {
    title: "the reserved names are the loader itself",
    root: {
      "/bin/p": { needs: ["libm.so.6", "libc.so.6", "libpthread.so.0", "libc.musl-x86_64.so.1", "libutil1.so"] },
      "/lib/libm.so.6": {},
      "/lib/libc.so.6": {},
      "/lib/libutil1.so": {},
    },
    shows: "libutil1.so => /lib/libutil1.so",
  },
  {
    title: "a token it does not know voids the whole list",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a:/opt/$LIB" },
      "/opt/a/liba.so": {},
      "/usr/lib/liba.so": {},
    },
    shows: "liba.so => /usr/lib/liba.so",
  },
  {
    title: "$ORIGIN is the folder as found, in both spellings",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "$ORIGIN/../opt/a" },
      "/opt/a/liba.so": { link: "../real/liba.so" },
      "/opt/real/liba.so": { needs: ["libb.so"], rpath: "${ORIGIN}/sub" },
      "/opt/a/sub/libb.so": {},
      "/opt/real/sub/libb.so": {},
    },
    shows: "libb.so => /opt/a/sub/libb.so",
  },
  {
    title: "$ORIGINX is $ORIGIN and an X",
    root: { "/bin/p": { needs: ["liba.so"], rpath: "$ORIGINX" }, "/binX/liba.so": {} },
    shows: "liba.so => /binX/liba.so",
  },
  {
    title: "DT_NEEDED has no tokens",
    root: { "/bin/p": { needs: ["$ORIGIN/liba.so", "/opt/libb.so"] }, "/bin/liba.so": {}, "/opt/libb.so": {} },
    shows: "$ORIGIN/liba.so => not found",
  },
  {
    title: "empty elements are skipped",
    root: { "/bin/p": { needs: ["liba.so"], rpath: "::/opt" }, "/liba.so": {}, "/opt/liba.so": {} },
    shows: "liba.so => /opt/liba.so",
  },
  {
    title: "no glibc-hwcaps, no NODEFLIB, no filters",
    root: {
      "/bin/p": { needs: ["liba.so"], ld: ["-z,nodefaultlib"] },
      "/usr/lib/glibc-hwcaps/x86-64-v2/liba.so": {},
      "/usr/lib/liba.so": { ld: ["--auxiliary=libb.so", "--filter=libnone.so"] },
      "/usr/lib/libb.so": {},
    },
    shows: "liba.so => /usr/lib/liba.so",
  },
  {
    title: "DT_SONAME answers no request",
    root: {
      "/bin/p": { needs: ["libx.so", "libx.so.1"] },
      "/usr/lib/libx.so": { soname: "libx.so.1" },
      "/lib/libx.so.1": {},
    },
    shows: "libx.so.1 => /lib/libx.so.1",
  },
  {
    title: "the file name of what a search found answers the next request",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], rpath: "/opt" },
      "/opt/liba.so": { needs: ["libx.so"], rpath: "/opt/a" },
      "/opt/libb.so": { needs: ["libx.so"], rpath: "/opt/b" },
      "/opt/a/libx.so": {},
      "/opt/b/libx.so": {},
    },
    shows: "libx.so => /opt/a/libx.so",
  },
  {
    title: "what was opened by a path answers to its name only after a search found it",
    root: {
      "/bin/p": { needs: ["/opt/a/libx.so", "libx.so"] },
      "/opt/a/libx.so": {},
      "/usr/lib/libx.so": {},
    },
    shows: "libx.so => /usr/lib/libx.so",
  },
  {
    title: "two names of one file are one object",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"] },
      "/usr/lib/liba.so": {},
      "/usr/lib/libb.so": { link: "liba.so" },
    },
    shows: "liba.so => /usr/lib/liba.so",
  },
  ...(
    [
      ["a library of another class", { bytes: { 4: 1, 54: 52 } }],
      ["a text file", { text: "INPUT(-la) and more text to fill a header up to 64 bytes ...............\n" }],
      ["an empty file", { text: "" }],
      ["a folder", { folder: true }],
      ["a link loop", { link: "liba.so" }],
    ] as const
  ).map(([what, node]) => ({
    title: `${what} ends the search`,
    root: { "/bin/p": { needs: ["liba.so"], rpath: "/opt/a:/opt/b" }, "/opt/a/liba.so": node, "/opt/b/liba.so": {} },
    shows: "liba.so => not found",
  })),
  {
    title: "a dangling link and a file for a folder are passed over",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a:/opt/file:/opt/b" },
      "/opt/a/liba.so": { link: "none" },
      "/opt/file": { text: "" },
      "/opt/b/liba.so": {},
    },
    shows: "liba.so => /opt/b/liba.so",
  },
];

describe("musl's corners, against the loader of this machine", () => {
  test.each(corners)("$title", ({ root: nodes, interpreter, shows }) => {
    const root = roots.build(nodes);
    const live = roots.list(root, "/bin/p", interpreter === undefined ? {} : { interpreter });
    if (shows === "") expect(live.lines).toEqual([]);
    else expect(live.lines).toContain(shows);
    const closure = resolveClosure(openFolder(root), [rootPath("/bin/p")], { workingFolder: rootPath("/") });
    expect(wordClosure(closure).toSorted()).toEqual(live.lines.toSorted());
  });
});
