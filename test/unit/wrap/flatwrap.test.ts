import { describe, expect, it } from "vitest";
import { extPath } from "../../../src/core/paths.ts";
import type { Action } from "../../../src/extension/plan.ts";
import { buildTree } from "../../../src/extension/tree.ts";
import { readTemplate } from "../../../src/host/templates.ts";
import { type MemoryEntry, memoryRootfs } from "../../../src/oci/memory-rootfs.ts";
import { parseEntry } from "../../../src/wrap/entry.ts";
import { type FlatwrapPlan, planFlatwrap } from "../../../src/wrap/flatwrap.ts";
import {
  parseFlatwrapOptions,
  type RawFlatwrapOptions,
  readFlatwrapTemplates,
} from "../../../src/wrap/flatwrap/options.ts";

const program = { content: "\x7fELF", mode: 0o755 };
const unit = "[Unit]\nDescription=x\n[Service]\nExecStartPre=-/bin/tool --check\nExecStart=/usr/bin/tool -d\n";
/** Merged /usr, as Debian and Alpine (from 3.22) have it. */
const image: Record<string, MemoryEntry> = {
  "/bin": { target: "usr/bin" },
  "/usr/bin/tool": program,
  "/usr/bin/alias": { target: "tool" },
  "/usr/bin/editor": { target: "/etc/alternatives/editor" },
  "/etc/alternatives/editor": { target: "/usr/bin/tool" },
  "/etc/ld.so.cache": "cache",
  "/etc/tool.conf": "conf",
  "/etc/resolv.conf": { target: "/run/resolv.conf" },
  "/usr/bin/su": { content: "su", mode: 0o4755 },
  "/usr/share/tool/data": "data",
  "/usr/share/doc/tool/README": "doc",
  "/usr/lib/systemd/system/tool.service": unit,
  "/usr/lib/systemd/system/tool.socket": "[Socket]\n",
  "/var/lib/tool/state": "state",
  "/home/someone/x": "x",
  "/srv/site/index": "index",
  "/tmp": { target: "var/tmp" },
  "/var/tmp": { type: "directory" },
  "/dev/null": { type: "character-device", device: { major: 1, minor: 3 } },
};

function plan(
  entries: readonly string[],
  options: RawFlatwrapOptions = {},
  root: Record<string, MemoryEntry> = image,
): FlatwrapPlan {
  const templates = readFlatwrapTemplates(readTemplate);
  return planFlatwrap(
    memoryRootfs(root, "an-image"),
    entries.map(parseEntry),
    parseFlatwrapOptions(options, { name: "t", prefix: extPath("/usr/lib/flixwrap"), templates }),
  );
}

const home = "/usr/lib/flixwrap/t";
const at = ({ actions }: FlatwrapPlan, path: string): Action | undefined => actions.find(({ to }) => to === path);
const shipped = (made: FlatwrapPlan): string[] =>
  made.actions
    .map(({ to }) => to as string)
    .filter((to) => to.startsWith(`${home}/root/`))
    .map((to) => to.slice(`${home}/root`.length));
const textAt = (made: FlatwrapPlan, path: string): string => {
  const action = at(made, path);
  if (action?.kind !== "write") throw new Error(`${path} is ${action?.kind}`);
  return Buffer.from(action.content).toString();
};
/** The rows of the shipped table without those every table has, as `source target options`. */
const mountsOf = (made: FlatwrapPlan): string[] =>
  textAt(made, `${home}/mounts`)
    .split("\n")
    .slice(4, -2)
    .map((line) => line.replace(/ none (\S+) 0 0$/, " $1"));

describe("where each path comes from", () => {
  const dev = ["/dev ./root/dev rbind,nofail"];
  const always = ["proc", "run", "sys", "tmp"].map((name) => `/${name} ./root/${name} rbind,nofail`);
  const homes = ["/home ./root/home rbind,nofail"];
  const cache = [
    "./over/etc/ld.so.cache ./root/etc/ld.so.cache bind,nofail",
    "none ./root/etc/ld.so.cache remount,bind,ro,nosuid,nodev,nofail",
  ];
  it.each<[string, RawFlatwrapOptions, string[]]>([
    [
      "the host's /etc, with the root's own loader cache before the host's",
      {},
      [
        ...dev,
        "/etc ./root/etc rbind,nofail",
        ...cache,
        ...homes,
        "/media ./root/media rbind,nofail",
        "/mnt ./root/mnt rbind,nofail",
        "/opt ./root/opt rbind,nofail",
        always[0]!,
        "/root ./root/root rbind,nofail",
        ...always.slice(1),
        "/var ./root/var rbind,nofail",
      ],
    ],
    [
      "the root's /etc with single files of the host; /var/tmp needs a row when /var is the root's",
      { etc: "chroot", var: "chroot", home: "chroot", hostFiles: "/etc/resolv.conf /etc/passwd" },
      [
        ...dev,
        "/etc/passwd ./root/etc/passwd bind,nofail",
        "/etc/resolv.conf ./root/etc/resolv.conf bind,nofail",
        "/media ./root/media rbind,nofail",
        "/mnt ./root/mnt rbind,nofail",
        "/opt ./root/opt rbind,nofail",
        ...always,
        "/var/tmp ./root/var/tmp rbind,nofail",
      ],
    ],
    [
      "binds: required, read-only, single files, odd names, and instead of the usual row",
      {
        etc: "chroot",
        hostFiles: "",
        var: "chroot",
        home: "chroot",
        host: "/tmp",
        bind: ["/a b#c:/data:ro", "/x.sock:/bin/x.sock:file", "/scratch:/tmp"],
      },
      [
        "/a\\040b\\043c ./root/data rbind",
        "none ./root/data remount,bind,ro,nosuid,nodev,noexec",
        "none ./root/data remount,bind,ro,nosuid,nodev",
        "/media ./root/media rbind,nofail",
        "/mnt ./root/mnt rbind,nofail",
        "/opt ./root/opt rbind,nofail",
        "/scratch ./root/tmp rbind",
        "/x.sock ./root/usr/bin/x.sock bind",
      ],
    ],
    [
      "paths of the root below the host's folders",
      { host: "/tmp", var: "chroot", home: "chroot", chroot: "/usr /bin /etc/alternatives /nowhere" },
      [
        "/etc ./root/etc rbind,nofail",
        "./over/etc/alternatives ./root/etc/alternatives rbind,nofail",
        "none ./root/etc/alternatives remount,bind,ro,nosuid,nodev,nofail",
        ...cache,
        "/media ./root/media rbind,nofail",
        "/mnt ./root/mnt rbind,nofail",
        "/opt ./root/opt rbind,nofail",
        "/tmp ./root/tmp rbind,nofail",
      ],
    ],
  ])("%s", (_, options, rows) => {
    expect(mountsOf(plan(["/usr/bin/tool"], options))).toEqual(rows);
  });

  it("makes a place for every mount, whatever the root has there, and ships nothing below it", () => {
    const made = plan(["/usr/bin/tool"], { bind: ["/x.sock:/run2/x.sock:file"] });
    expect(at(made, `${home}/root/tmp`)).toMatchObject({ kind: "directory", mode: 0o755 });
    expect(at(made, `${home}/root/run2/x.sock`)).toMatchObject({ kind: "write", content: new Uint8Array() });
    expect(shipped(made).filter((path) => /^\/(etc|var|home|dev)\//.test(path))).toEqual([]);
    expect(at(made, `${home}/over/etc/ld.so.cache`)).toMatchObject({ kind: "copy" });
    expect(() => buildTree(made, { name: "t" })).not.toThrow();
  });

  it("puts a plain file where the root has a link, which mount(8) would follow on the host", () => {
    const made = plan(["/usr/bin/tool"], { etc: "chroot" });
    expect(at(made, `${home}/root/etc/resolv.conf`)).toMatchObject({ kind: "write" });
    expect(at(made, `${home}/root/etc/tool.conf`)).toMatchObject({ kind: "copy" });
  });

  it("keeps a common folder that the root has something in", () => {
    expect(shipped(plan(["/usr/bin/tool"]))).toContain("/srv/site/index");
  });
});

describe("the root", () => {
  it("gives links through the host's folders the direct way", () => {
    const action = at(plan(["/usr/bin/tool"]), `${home}/root/usr/bin/editor`);
    expect(action).toMatchObject({ kind: "symlink", target: "tool" });
    expect(at(plan(["/usr/bin/tool"], { etc: "chroot" }), `${home}/root/usr/bin/editor`)).toMatchObject({
      target: "/etc/alternatives/editor",
    });
  });

  it("ships no setuid bits unless asked for", () => {
    const made = plan(["/usr/bin/tool"]);
    expect(at(made, `${home}/root/usr/bin/su`)).toMatchObject({ from: { mode: 0o755 } });
    expect(made.warnings.join()).toContain("1 files lose their setuid bits");
    expect(at(plan(["/usr/bin/tool"], { allowSuid: true }), `${home}/root/usr/bin/su`)).toMatchObject({
      from: { mode: 0o4755 },
    });
  });

  it.each([
    ["/usr/share/doc/**", "/usr/share/doc/tool", "/usr/share/tool/data"],
    ["/usr/share/doc", "/usr/share/doc/tool/README", "/usr/share/tool/data"],
    ["**/*.service", "/usr/lib/systemd/system/tool.service", "/usr/lib/systemd/system/tool.socket"],
  ])("leaves out %s", (glob, gone, kept) => {
    const paths = shipped(plan(["/usr/bin/tool"], { exclude: [glob] }));
    expect(paths).not.toContain(gone);
    expect(paths).toContain(kept);
  });

  it("tells of globs that leave nothing out", () => {
    const globs = ["usr/share/**", "/usr/share", "/usr/share/doc", "/var/lib/tool", "/srv/[", ""];
    const made = plan(["/usr/bin/tool"], { exclude: globs });
    expect(made.warnings.filter((line) => line.startsWith("--exclude")).map((line) => line.split(" ")[1])).toEqual([
      "usr/share/**",
      "/srv/[",
      "",
    ]);
  });

  it("takes the same bind twice", () => {
    const [once, twice] = [["/a:/x"], ["/a:/x", "/a:/x"]].map((bind) => plan(["/usr/bin/tool"], { bind }));
    expect(mountsOf(twice!)).toEqual(mountsOf(once!));
  });

  it("holds only the named parts with --chroot", () => {
    const paths = shipped(plan(["/bin/tool:/usr/bin/tool"], { chroot: "/usr/bin /bin" }));
    expect(paths).toContain("/bin");
    expect(paths).toContain("/usr/bin/tool");
    expect(paths).not.toContain("/usr/share/tool/data");
    expect(paths).not.toContain("/srv/site/index");
  });
});

describe("entries", () => {
  it.each([
    ["a program", "/usr/bin/tool", "/usr/bin/tool", "/usr/bin/tool"],
    ["elsewhere", "/bin/tool:/opt/x/t", "/opt/x/t", "/bin/tool"],
    ["a link, whose name the program sees as argv[0]", "/usr/bin/alias", "/usr/bin/alias", "/usr/bin/alias"],
    ["a link through the host's /etc", "/usr/bin/editor", "/usr/bin/editor", "/usr/bin/editor"],
  ])("%s becomes a script", (_, entry, target, inside) => {
    const made = plan([entry]);
    expect(at(made, target)).toMatchObject({ kind: "write", mode: 0o755 });
    expect(textAt(made, target)).toContain(`\nflatwrap_program=${inside}\n`);
    expect(textAt(made, target)).toContain(`\nflatwrap_home=\${FLATWRAP_ROOT-}${home}\n`);
  });

  it.each([
    ["a folder", "/usr/share/tool", "../lib/flixwrap/t/root/usr/share/tool"],
    ["a file", "/usr/share/tool/data", "../../lib/flixwrap/t/root/usr/share/tool/data"],
  ])("%s becomes a link", (_, entry, target) => {
    expect(at(plan([entry]), entry)).toMatchObject({ kind: "symlink", target });
  });

  it("a file in a folder that is excluded is copied", () => {
    const made = plan(["/usr/bin/tool", "/usr/share/tool/data"], { exclude: ["/usr/share"] });
    expect(at(made, "/usr/share/tool/data")).toMatchObject({ kind: "copy" });
    expect(shipped(made)).not.toContain("/usr/share/tool/data");
  });

  it("what the program would not see itself is copied", () => {
    expect(at(plan(["/etc/tool.conf:/usr/share/tool/conf"]), "/usr/share/tool/conf")).toMatchObject({ kind: "copy" });
  });

  it.each<[string, string[], RawFlatwrapOptions, string]>([
    [
      "missing",
      ["/usr/bin/nope", "/usr/bin/no"],
      {},
      "no such paths in the image: an-image: got /usr/bin/nope, /usr/bin/no",
    ],
    [
      "what the scripts need themselves",
      ["/usr/bin/tool:/usr/sbin/mount"],
      {},
      "the scripts themselves need the host's own program there: /usr/bin/mount; place it elsewhere, as in /usr/bin/tool:/opt/bin/mount",
    ],
    [
      "not executable",
      ["/usr/share/tool/data:/usr/bin/data"],
      {},
      "cannot make a program of a file that is not executable: /usr/share/tool/data; data can stand elsewhere, as in /usr/share/tool/data:/usr/share/data",
    ],
    [
      "/etc that is not there",
      ["/usr/bin/tool"],
      { etc: "chroot" },
      "the image has no /etc that the program could see: an-image; take it from the host",
    ],
    [
      "a program that is excluded",
      ["/usr/bin/tool"],
      { exclude: ["/usr/bin/*"] },
      "the program could not see this entry itself: /usr/bin/tool; it is left out, or its folder comes from the host: see --exclude, --chroot, --only-needed, --etc, --var, --home, --host and --bind",
    ],
    [
      "a program in a folder that is excluded",
      ["/usr/bin/tool"],
      { exclude: ["/usr/bin"] },
      "the program could not see this entry itself: /usr/bin/tool; it is left out, or its folder comes from the host: see --exclude, --chroot, --only-needed, --etc, --var, --home, --host and --bind",
    ],
    [
      "two binds for one place, through a link",
      ["/usr/bin/tool"],
      { bind: ["/a:/usr/bin/x", "/b:/bin/x"] },
      "two --bind want the same place and differ: got /usr/bin/x",
    ],
    [
      "a folder among the host's files",
      ["/usr/bin/tool"],
      { etc: "chroot", hostFiles: "/etc/alternatives" },
      "--host-files takes files, and the image has a folder there: got /etc/alternatives; --bind /etc/alternatives shows the host's folder",
    ],
    [
      "no package database",
      ["/usr/bin/tool"],
      { onlyNeeded: true },
      "--only-needed reads the package database of dpkg or apk, and the image has none: an-image",
    ],
    [
      "a package database that is not read",
      ["/usr/bin/tool"],
      { onlyNeeded: true, chroot: "/usr /var" },
      "--only-needed reads the package database of dpkg or apk, and this one is of rpm: an-image: got /usr/lib/sysimage/rpm/rpmdb.sqlite; leave parts out by --exclude instead",
    ],
    [
      "a bad bind",
      ["/usr/bin/tool"],
      { bind: ["data:/x"] },
      "cannot read --bind: got data:/x, wanted HOST[:INSIDE][:ro][:file] with absolute paths",
    ],
    [
      "a bad list",
      ["/usr/bin/tool"],
      { host: "/dev proc" },
      "--host (or the variable HOST) takes absolute paths below /: got proc",
    ],
  ])("%s is told in one line", (_, entries, options, message) => {
    const rpm = {
      "/usr/lib/sysimage/rpm/rpmdb.sqlite": "SQLite",
      "/var/lib/rpm": { target: "../../usr/lib/sysimage/rpm" },
    };
    const root =
      options.etc === "chroot" && options.hostFiles === undefined
        ? { "/usr/bin/tool": program }
        : { ...image, ...(options.chroot === undefined ? {} : rpm) };
    expect(() => plan(entries, options, root)).toThrow(expect.objectContaining({ message }));
  });
});

describe("starters", () => {
  /** The first bytes of a 64-bit little-endian ELF file for a machine (gABI). */
  const elf = (machine: number): MemoryEntry => {
    const header = Buffer.alloc(64);
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    header.writeUInt16LE(machine, 18);
    return { content: header, mode: 0o755 };
  };
  const starter = (root: Record<string, MemoryEntry>): number | undefined => {
    const action = at(plan(["/usr/bin/tool"], {}, root), `${home}/start-as-user`);
    if (action?.kind !== "write") return undefined;
    expect(action.mode).toBe(0o755);
    return Buffer.from(action.content).readUInt16LE(18);
  };
  it.each<[string, Record<string, MemoryEntry>, number | undefined]>([
    ["x86-64", { "/usr/bin/tool": elf(62) }, 62],
    ["arm64", { "/usr/bin/tool": elf(183) }, 183],
    [
      "the shell's, for a script",
      { "/usr/bin/tool": { content: "#!/bin/sh\n", mode: 0o755 }, "/usr/bin/sh": elf(183) },
      183,
    ],
    ["none for s390x", { "/usr/bin/tool": elf(22) }, undefined],
    ["none for a root without programs", {}, undefined],
  ])("are for the machine of the programs: %s", (_, root, machine) => {
    expect(starter({ ...image, ...root })).toBe(machine);
  });

  it("are all that differs between architectures", () => {
    const [one, other] = [62, 183].map((machine) =>
      plan(["/usr/bin/tool"], {}, { ...image, "/usr/bin/tool": elf(machine) }),
    );
    for (const path of [`${home}/enter`, `${home}/mounts`, "/usr/bin/tool"]) {
      expect(textAt(one!, path)).toBe(textAt(other!, path));
    }
  });
});

describe("services", () => {
  const entries = ["/usr/bin/tool", "/usr/lib/systemd/system/tool.service", "/usr/lib/systemd/system/tool.socket"];
  it("get systemd's own sandbox by a drop-in", () => {
    const made = plan(entries, {
      bind: ["/a b:/data:ro"],
      host: "/dev /proc /sys /run",
      home: "chroot",
      var: "chroot",
    });
    expect(at(made, "/usr/lib/systemd/system/tool.service")).toMatchObject({ kind: "copy" });
    expect(at(made, "/usr/lib/systemd/system/tool.socket.d/10-flatwrap.conf")).toBeUndefined();
    expect(textAt(made, "/usr/lib/systemd/system/tool.service.d/10-flatwrap.conf").split("\n").slice(1)).toEqual([
      "[Service]",
      `RootDirectory=${home}/root`,
      "MountAPIVFS=no",
      "BindPaths=-/dev:/dev",
      "BindPaths=-/etc:/etc",
      "BindPaths=-/media:/media",
      "BindPaths=-/mnt:/mnt",
      "BindPaths=-/opt:/opt",
      "BindPaths=-/proc:/proc",
      "BindPaths=-/run:/run",
      "BindPaths=-/sys:/sys",
      "BindReadOnlyPaths=/a\\x20b:/data",
      `BindReadOnlyPaths=-${home}/over/etc/ld.so.cache:/etc/ld.so.cache`,
      "ReadOnlyPaths=-/home",
      "ReadOnlyPaths=-/srv",
      "ReadOnlyPaths=-/usr",
      "ReadOnlyPaths=-/var",
      "",
    ]);
  });

  it("call the wrappers in wrapper mode, by whatever name they call the program", () => {
    const made = plan(["/usr/bin/tool:/opt/x/tool", entries[1]!], { unitMode: "wrapper" });
    expect(textAt(made, "/usr/lib/systemd/system/tool.service")).toBe(
      unit.replace("-/bin/tool", "-/opt/x/tool").replace("=/usr/bin/tool", "=/opt/x/tool"),
    );
  });
});

describe("--only-needed", () => {
  const common = {
    "/bin": { target: "usr/bin" },
    "/usr/bin/tool": program,
    "/usr/bin/sh": program,
    "/usr/bin/other": program,
    "/usr/lib/libtool.so": "lib",
    "/usr/share/doc/tool/copyright": "doc",
    "/usr/local/own": "unowned",
  };
  const status = [
    "Package: tool\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nDepends: libtool (>= 1) | x, virtual\nDescription: a\n b",
    "Package: libtool\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same",
    "Package: real\nStatus: install ok installed\nVersion: 1\nProvides: virtual (= 2)",
    "Package: sh\nStatus: install ok installed\nVersion: 1",
    "Package: other\nStatus: install ok installed\nVersion: 1",
    // Its files are gone, but for those that an administrator may have changed.
    "Package: removed\nStatus: deinstall ok config-files\nVersion: 1\nDepends: other",
  ].join("\n\n");
  const info = "/var/lib/dpkg/info";
  it.each<[string, Record<string, MemoryEntry>]>([
    [
      "dpkg",
      {
        "/var/lib/dpkg/status": status,
        [`${info}/tool.list`]: "/.\n/bin\n/bin/tool\n/usr/share/doc/tool/copyright\n",
        [`${info}/libtool:amd64.list`]: "/usr/lib/libtool.so\n",
        [`${info}/real.list`]: "/usr/share/real\n",
        [`${info}/sh.list`]: "/bin/sh\n",
        [`${info}/other.list`]: "/usr/bin/other\n/usr/bin\n",
        [`${info}/removed.list`]: "/usr/bin/tool\n",
      },
    ],
    [
      "apk",
      {
        "/lib/apk/db/installed": [
          "P:tool\nV:1\nD:so:libtool.so virtual !conflict\nF:bin\nR:tool\nF:usr/share/doc/tool\nR:copyright",
          "P:libtool\nV:1\np:so:libtool.so=1.2\nF:usr/lib\nR:libtool.so",
          "P:real\nV:1\np:virtual\nF:usr/share\nR:real",
          "P:busybox\nV:1\nF:bin\nR:sh",
          "P:other\nV:1\nF:usr/bin\nR:other",
        ].join("\n\n"),
      },
    ],
  ])("keeps what the entry's package needs, by %s", (_, database) => {
    const root = { ...common, "/usr/share/real": "real", ...database };
    const paths = shipped(plan(["/usr/bin/tool"], { onlyNeeded: true }, root));
    for (const path of [
      "/usr/bin/tool",
      "/usr/bin/sh",
      "/usr/lib/libtool.so",
      "/usr/share/real",
      "/usr/local/own",
      "/usr/share/doc/tool/copyright",
    ]) {
      expect(paths).toContain(path);
    }
    expect(paths).not.toContain("/usr/bin/other");
  });
});

it("gives the same plan for every spelling of the same lists", () => {
  const spelled = plan(["/usr/bin/tool"], { host: " /dev/  /proc//x/..\n/sys /run /tmp /var/tmp " });
  expect(textAt(spelled, `${home}/mounts`)).toBe(textAt(plan(["/usr/bin/tool"]), `${home}/mounts`));
});
