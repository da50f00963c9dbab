import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { rootPath } from "../../../src/core/paths.ts";
import { type ResolveOptions, resolveClosure } from "../../../src/loader/index.ts";
import { openFolder } from "../../../src/oci/folder-rootfs.ts";
import { type FixtureNode, FixtureRoots } from "./fixture-root.ts";
import { wordClosure } from "./listing.ts";

const roots = new FixtureRoots("glibc");
afterAll(() => roots.remove());

const systemFolder = "/lib/x86_64-linux-gnu";
/** What the machine's own lib folder would hold; offsets of e_ident and e_machine in the ELF header. */
const otherClass = { bytes: { 4: 1 } };
const otherMachine = { bytes: { 18: 183 } };

/** The N of glibc 2.N. */
const glibcVersion = Number(/ 2\.(\d+)/.exec(execFileSync("getconf", ["GNU_LIBC_VERSION"], { encoding: "utf8" }))?.[1]);

interface Corner {
  readonly title: string;
  readonly root: Readonly<Record<string, FixtureNode>>;
  /** Run inside the root before the loaders look at it. */
  readonly prepare?: readonly string[];
  /** Taken away after that. */
  readonly removed?: string;
  readonly options?: ResolveOptions;
  readonly program?: string;
  /** What the fixture is about: must be among the live loader's lines, or a part of its message. */
  readonly shows: string;
  /** Lines of the live loader that tell of no defect: tracing, it also lists an absent DT_AUXILIARY. */
  readonly harmless?: string;
}

const corners: readonly Corner[] = [
  {
    title: "DT_RPATH of the program serves the needs of its libraries",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"] },
      "/opt/a/libb.so": {},
    },
    shows: "libb.so => /opt/a/libb.so",
  },
  {
    title: "DT_RUNPATH of the asking library ends the inheritance",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"], runpath: "/opt/none" },
      "/opt/a/libb.so": {},
    },
    shows: "libb.so => not found",
  },
  {
    title: "DT_RUNPATH in the middle of the chain does not end it for those below",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"], runpath: "/opt/b" },
      "/opt/b/libb.so": { needs: ["libc1.so"] },
      "/opt/a/libc1.so": {},
    },
    shows: "libc1.so => /opt/a/libc1.so",
  },
  {
    title: "DT_RUNPATH is not inherited",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"] },
      "/opt/a/libb.so": {},
    },
    shows: "libb.so => not found",
  },
  {
    title: "the nearest DT_RPATH of the chain comes first",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"], rpath: "/opt/b" },
      "/opt/a/libb.so": {},
      "/opt/b/libb.so": {},
    },
    shows: "libb.so => /opt/b/libb.so",
  },
  {
    title: "an empty DT_RUNPATH has no folder, but still ends the inheritance",
    root: {
      "/bin/p": { needs: ["liba.so"], rpath: "/opt/a" },
      "/opt/a/liba.so": { needs: ["libb.so"], runpath: "" },
      "/opt/a/libb.so": {},
      "/libb.so": {},
    },
    shows: "libb.so => not found",
  },
  {
    title: "an object already loaded answers to its DT_SONAME",
    root: {
      "/bin/p": { needs: ["libx.so", "libb.so"], runpath: "/opt/a" },
      "/opt/a/libx.so": { soname: "libx.so.1" },
      "/opt/a/libb.so": { needs: ["libx.so.1"], runpath: "/opt/b" },
      "/opt/b/libx.so.1": {},
    },
    shows: "libx.so => /opt/a/libx.so",
  },
  {
    title: "two names of one file are one object",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], runpath: "/opt/a" },
      "/opt/a/liba.so": {},
      "/opt/a/libb.so": { hardlink: "/opt/a/liba.so" },
    },
    shows: "liba.so => /opt/a/liba.so",
  },
  {
    title: "who asks first decides for all",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], runpath: "/opt/p" },
      "/opt/p/liba.so": { needs: ["libx.so"], runpath: "/opt/a" },
      "/opt/p/libb.so": { needs: ["libx.so"], runpath: "/opt/b" },
      "/opt/a/libx.so": {},
      "/opt/b/libx.so": {},
    },
    shows: "libx.so => /opt/a/libx.so",
  },
  {
    title: "$ORIGIN of a library is the folder of the link it was found by",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a" },
      "/opt/a/liba.so": { link: "../real/liba.so" },
      "/opt/real/liba.so": { needs: ["libb.so"], runpath: "$ORIGIN/sub" },
      "/opt/a/sub/libb.so": {},
      "/opt/real/sub/libb.so": {},
    },
    shows: "libb.so => /opt/a/sub/libb.so",
  },
  {
    title: "$ORIGIN of a program is the folder of its real file",
    root: {
      "/opt/bin/p": { needs: ["liba.so"], runpath: "${ORIGIN}/../lib" },
      "/opt/lib/liba.so": {},
      "/bin/link": { link: "/opt/bin/p" },
      "/lib/liba.so": {},
    },
    program: "/bin/link",
    shows: "liba.so => /opt/lib/liba.so",
  },
  {
    title: "the parent of a linked folder is the parent of the real one",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/link/../lib" },
      "/opt/link": { link: "../srv/deep/folder" },
      "/srv/deep/folder/x": { text: "" },
      "/srv/deep/lib/liba.so": {},
      "/opt/lib/liba.so": {},
    },
    shows: "liba.so => /srv/deep/lib/liba.so",
  },
  {
    title: "$LIB is the loader's own",
    root: { "/bin/p": { needs: ["liba.so"], runpath: "/opt/$LIB" }, "/opt/lib/x86_64-linux-gnu/liba.so": {} },
    shows: "liba.so => /opt/lib/x86_64-linux-gnu/liba.so",
  },
  {
    title: "$ORIGINX is no token",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/$ORIGINX:/opt/$lib" },
      "/opt/$lib/liba.so": {},
    },
    shows: "liba.so => /opt/$lib/liba.so",
  },
  {
    title: "a DT_NEEDED with a slash is opened as it is, tokens expanded",
    root: {
      "/bin/p": { needs: ["$ORIGIN/d/liba.so", "/opt/libb.so"] },
      "/bin/d/liba.so": {},
      "/opt/libb.so": {},
    },
    shows: "/bin/d/liba.so => /bin/d/liba.so",
  },
  {
    title: "an empty element is the working folder",
    root: { "/bin/p": { needs: ["liba.so"], runpath: "/none::/opt" }, "/liba.so": {}, "/opt/liba.so": {} },
    shows: "liba.so => /liba.so",
  },
  {
    title: "a library of another class is passed over",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b/" },
      "/opt/a/liba.so": otherClass,
      "/opt/b/liba.so": {},
    },
    shows: "liba.so => /opt/b/liba.so",
  },
  {
    title: "a library of another machine is passed over",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b//" },
      "/opt/a/liba.so": otherMachine,
      "/opt/b/liba.so": {},
    },
    shows: "liba.so => /opt/b/liba.so",
  },
  {
    title: "a text file of the name ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { text: "/* GNU ld script */ INPUT(-la) and more text to fill a header up to 64 bytes\n" },
      "/opt/b/liba.so": {},
    },
    shows: "invalid ELF header",
  },
  {
    title: "a short file of the name ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { text: "" },
      "/opt/b/liba.so": {},
    },
    shows: "file too short",
  },
  {
    title: "a folder of the name ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so/x": { text: "" },
      "/opt/b/liba.so": {},
    },
    shows: "cannot read file data",
  },
  {
    title: "a library of the other byte order ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { bytes: { 5: 2 } },
      "/opt/b/liba.so": {},
    },
    shows: "ELF file data encoding not little-endian",
  },
  {
    title: "a foreign OS ABI ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { bytes: { 7: 9 } },
      "/opt/b/liba.so": {},
    },
    shows: "ELF file OS ABI invalid",
  },
  {
    title: "padding in e_ident ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { bytes: { 12: 1 } },
      "/opt/b/liba.so": {},
    },
    shows: "nonzero padding in e_ident",
  },
  {
    title: "a relocatable file ends the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { bytes: { 16: 1 } },
      "/opt/b/liba.so": {},
    },
    shows: "only ET_DYN and ET_EXEC can be loaded",
  },
  {
    title: "a position-independent program is no library",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { program: true },
      "/opt/b/liba.so": {},
    },
    shows: "cannot dynamically load position-independent executable",
  },
  {
    title: "a program at a fixed address is no library",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { program: true, ld: ["-no-pie"] },
      "/opt/b/liba.so": {},
    },
    shows: "cannot dynamically load executable",
  },
  {
    title: "a link loop ends its list, not the search",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { link: "liba.so" },
      "/opt/b/liba.so": {},
      [`${systemFolder}/liba.so`]: {},
    },
    shows: `liba.so => ${systemFolder}/liba.so`,
  },
  {
    title: "a dangling link is passed over",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt/a:/opt/b" },
      "/opt/a/liba.so": { link: "liba.so.1" },
      "/opt/b/liba.so": {},
    },
    shows: "liba.so => /opt/b/liba.so",
  },
  {
    title: "the default folders are searched in the loader's order",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so", "libd.so"] },
      "/lib/liba.so": {},
      "/usr/lib/x86_64-linux-gnu/liba.so": {},
      "/usr/lib/libb.so": {},
      "/lib64/libd.so": {},
    },
    shows: "liba.so => /usr/lib/x86_64-linux-gnu/liba.so",
  },
  {
    title: "before 2.37, sub-folders named tls and after the platform come first",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], runpath: "/opt" },
      "/opt/liba.so": {},
      "/opt/tls/liba.so": {},
      "/opt/x86_64/liba.so": {},
      "/opt/libb.so": {},
      "/opt/x86_64/libb.so": {},
    },
    shows: glibcVersion < 37 ? "liba.so => /opt/tls/liba.so" : "liba.so => /opt/liba.so",
  },
  {
    title: "DF_1_NODEFLIB shuts the default folders for the object that has it, and for no other",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], runpath: "/opt", ld: ["-z,nodefaultlib"] },
      "/opt/liba.so": { needs: ["libc1.so"] },
      "/lib/libb.so": {},
      "/lib/libc1.so": {},
    },
    shows: "libb.so => not found",
  },
  {
    title: "the cache comes before the default folders, under sonames",
    root: {
      "/etc/ld.so.conf": { text: "/opt/lib\n" },
      "/bin/p": { needs: ["liba.so.1"] },
      "/opt/lib/liba.so.1.2": { soname: "liba.so.1" },
      "/lib/liba.so.1": {},
    },
    prepare: ["/sbin/ldconfig"],
    shows: "liba.so.1 => /opt/lib/liba.so.1",
  },
  {
    title: "DF_1_NODEFLIB bars cache entries in default folders, not others",
    root: {
      "/etc/ld.so.conf": { text: "/opt/lib\n" },
      "/bin/p": { needs: ["liba.so.1", "libb.so.1"], ld: ["-z,nodefaultlib"] },
      "/opt/lib/liba.so.1": { soname: "liba.so.1" },
      "/lib/libb.so.1": { soname: "libb.so.1" },
    },
    prepare: ["/sbin/ldconfig"],
    shows: "libb.so.1 => not found",
  },
  {
    title: "a stale cache entry is passed over",
    root: {
      "/etc/ld.so.conf": { text: "/opt/lib\n" },
      "/bin/p": { needs: ["liba.so.1"] },
      "/opt/lib/liba.so.1": { soname: "liba.so.1" },
      "/lib/liba.so.1": {},
    },
    prepare: ["/sbin/ldconfig"],
    removed: "/opt/lib/liba.so.1",
    shows: "liba.so.1 => /lib/liba.so.1",
  },
  {
    title: "the cache compares runs of digits as numbers",
    root: {
      "/etc/ld.so.conf": { text: "include conf.d/*.conf # comment\n" },
      "/etc/conf.d/a.conf": { text: "/opt/lib/\n" },
      "/bin/p": { needs: ["liba.so.01"] },
      "/opt/lib/liba.so.1": { soname: "liba.so.1" },
    },
    prepare: ["/sbin/ldconfig"],
    shows: "liba.so.01 => /opt/lib/liba.so.1",
  },
  {
    title: "of two folders in the cache the first one wins",
    root: {
      "/etc/ld.so.conf": { text: "/opt/b\n/opt/a\n" },
      "/bin/p": { needs: ["liba.so.1"] },
      "/opt/a/liba.so.1": { soname: "liba.so.1" },
      "/opt/b/liba.so.1": { soname: "liba.so.1" },
    },
    prepare: ["/sbin/ldconfig"],
    shows: "liba.so.1 => /opt/b/liba.so.1",
  },
  {
    title: "the cache in the format with the old one in front",
    root: {
      "/etc/ld.so.conf": { text: "/opt/b\n" },
      "/bin/p": { needs: ["liba.so.1"] },
      "/opt/b/liba.so.1": { soname: "liba.so.1" },
    },
    prepare: ["/sbin/ldconfig", "-c", "compat"],
    shows: "liba.so.1 => /opt/b/liba.so.1",
  },
  {
    title: "ld.so.conf alone means nothing to the loader",
    root: {
      "/etc/ld.so.conf": { text: "/opt/b\n" },
      "/bin/p": { needs: ["liba.so.1"] },
      "/opt/b/liba.so.1": { soname: "liba.so.1" },
    },
    options: { facts: (facts) => ({ ...facts, confFolders: [] }) },
    shows: "liba.so.1 => not found",
  },
  {
    title: "DT_AUXILIARY may be absent, and serves before its owner's siblings",
    root: {
      "/bin/p": { needs: ["liba.so", "libb.so"], runpath: "/opt" },
      "/opt/liba.so": { ld: ["--auxiliary=libaux.so", "--auxiliary=libnone.so"], rpath: "/opt" },
      "/opt/libaux.so": { needs: ["libx.so"], rpath: "/opt/x1" },
      "/opt/libb.so": { needs: ["libx.so"], rpath: "/opt/x2" },
      "/opt/x1/libx.so": {},
      "/opt/x2/libx.so": {},
    },
    shows: "libx.so => /opt/x1/libx.so",
    harmless: "libnone.so => not found",
  },
  {
    title: "DT_FILTER is loaded",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt" },
      "/opt/liba.so": { ld: ["--filter=libreal.so"], rpath: "/opt" },
      "/opt/libreal.so": {},
    },
    shows: "libreal.so => /opt/libreal.so",
  },
  {
    title: "DT_FILTER may not be absent",
    root: {
      "/bin/p": { needs: ["liba.so"], runpath: "/opt" },
      "/opt/liba.so": { ld: ["--filter=libnone.so"] },
    },
    shows: "libnone.so => not found",
  },
  {
    title: "the loader answers to its soname wherever it lies",
    root: {
      "/bin/p": { needs: ["ld-linux-x86-64.so.2", "liba.so"], runpath: "/opt" },
      "/opt/ld-linux-x86-64.so.2": {},
      "/opt/liba.so": {},
    },
    shows: "liba.so => /opt/liba.so",
  },
];

describe("glibc's corners, against the loader of this machine", () => {
  test.each(corners)("$title", ({ root: nodes, prepare, removed, options, program = "/bin/p", shows, harmless }) => {
    const root = roots.build(nodes);
    if (prepare !== undefined) {
      roots.copyIn(root, prepare[0]!);
      expect(roots.run(root, prepare).stderr).not.toContain("Can't");
    }
    if (removed !== undefined) rmSync(join(root, removed));
    const live = roots.list(root, program);
    const closure = resolveClosure(openFolder(root), [rootPath(program)], { workingFolder: rootPath("/"), ...options });
    const notes = closure.missing.flatMap(({ searched }) => searched.flatMap(({ note }) => note ?? []));
    if (live.stderr.includes("error while loading")) {
      expect(live.stderr).toContain(shows);
      expect(notes.join("\n")).toContain(shows);
    } else {
      expect(live.lines).toContain(shows);
      expect(wordClosure(closure).toSorted()).toEqual(live.lines.filter((line) => line !== harmless).toSorted());
    }
  });
});
