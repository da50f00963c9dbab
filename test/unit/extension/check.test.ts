import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CheckOptions,
  checkExtension,
  countFindings,
  refuseErrors,
  wordFinding,
} from "../../../src/extension/check/check.ts";
import { compareVersions, findCollisions } from "../../../src/extension/check/collisions.ts";
import type { Finding } from "../../../src/extension/check/finding.ts";
import { formatSarif } from "../../../src/extension/check/sarif.ts";
import { wordings } from "../../../src/extension/check/wording.ts";
import { type MemoryEntry, memoryRootfs } from "../../../src/oci/memory-rootfs.ts";

type Entries = Record<string, MemoryEntry>;
const releaseFile = "/usr/lib/extension-release.d/extension-release.t";
const good: Entries = {
  [releaseFile]: "ID=_any\nARCHITECTURE=x86-64\n",
  "/usr/bin/x": { content: "#!/bin/sh\n", mode: 0o755 },
};

/** `rule path` of every finding. */
const told = (findings: readonly Finding[]) => findings.map(({ rule, path }) => [rule, path].filter(Boolean).join(" "));
const check = (entries: Entries, options: CheckOptions = {}, fileName = "t.raw") =>
  checkExtension(memoryRootfs(entries), fileName, options);

let folder: string;
let program: Buffer;
let library: Buffer;
/** The glibc loader of this machine. */
const loader = readFileSync("/lib64/ld-linux-x86-64.so.2");
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "check-test-"));
  const build = (name: string, text: string, ...flags: string[]) => {
    writeFileSync(join(folder, `${name}.c`), text);
    execFileSync("gcc", ["-o", name, `${name}.c`, "-nostdlib", "-nostartfiles", ...flags], { cwd: folder });
    return readFileSync(join(folder, name));
  };
  library = build("libown.so", "int own(void){return 1;}", "-shared", "-fPIC", "-Wl,-soname,libown.so");
  program = build(
    "program",
    "int own(void); void _start(void){own();}",
    ..."-L. -lown -Wl,--dynamic-linker=/usr/lib/p/ld.so -Wl,-rpath,/usr/lib/p -Wl,--disable-new-dtags".split(" "),
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a sound extension has no findings", () => {
  expect(check(good)).toEqual([]);
  expect(check({ ...good, "/opt/x/link": { target: "../../usr/bin/x" } }, { hosts: ["flatcar"] })).toEqual([]);
});

const unit = "[Unit]\nA=b\n[Service]\nExecStart=/usr/bin/x\n[Install]\nWantedBy=multi-user.target\n";
const system = "/usr/lib/systemd/system";
const reload = "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n";
const upholds: Entries = { [`${system}/multi-user.target.d/10-x.service.conf`]: "[Unit]\nUpholds=x.service\n" };

/** What is added to the sound extension, and what must be told then; all of it and nothing else. */
const rows: [string, Entries, string[], CheckOptions?, string?][] = [
  ["/etc", { "/etc/x.conf": "" }, ["outside /etc"]],
  ["top-level sbin", { "/sbin/x": "" }, ["outside /sbin"]],
  ["top-level lib64", { "/lib64": { target: "usr/lib64" } }, ["outside /lib64"]],
  ["os-release", { "/usr/lib/os-release": "ID=x" }, ["os-release /usr/lib/os-release"]],
  ["usr/sbin, X20", { "/usr/sbin/newd": "" }, ["shadowed-link /usr/sbin"]],
  ["usr/sbin on a host that has it", { "/usr/sbin/newd": "" }, [], { hosts: ["debian"] }],
  ["usr/local, X21", { "/usr/local/x": "" }, ["shadowed-link /usr/local"], { hosts: ["fedora-atomic"] }],
  ["lib64/systemd", { "/usr/lib64/systemd/x": "" }, ["shadowed-link /usr/lib64/systemd"], { hosts: ["flatcar"] }],
  [
    "a link at a folder of all hosts",
    { "/usr/lib/systemd": { target: "x" } },
    ["shadowed-folder /usr/lib/systemd", "link-dangling /usr/lib/systemd"],
  ],
  ["a file at one", { "/usr/include": "" }, ["shadowed-folder /usr/include"]],
  ["a folder at one", { "/usr/libexec": { type: "directory" } }, []],
  ["a loader", { "/usr/lib64/ld-linux-x86-64.so.2": "" }, ["host-loader /usr/lib64/ld-linux-x86-64.so.2"]],
  ["musl's loader", { "/usr/lib/ld-musl-x86_64.so.1": "" }, ["host-loader /usr/lib/ld-musl-x86_64.so.1"]],
  ["a host library", { "/usr/lib64/libssl.so.3": "" }, ["host-library /usr/lib64/libssl.so.3"]],
  [
    "multiarch",
    { "/usr/lib/x86_64-linux-gnu/libown.so.1": "" },
    ["host-library /usr/lib/x86_64-linux-gnu/libown.so.1"],
  ],
  ["a private library", { "/usr/lib/t/libssl.so.3": "" }, []],
  ["umask 077, X22", { "/usr/share": { type: "directory", mode: 0o700 } }, ["folder-closed /usr/share"]],
  ["world-writable file", { "/usr/bin/w": { content: "", mode: 0o777 } }, ["world-writable /usr/bin/w"]],
  [
    "world-writable folder",
    { "/usr/share/tmp": { type: "directory", mode: 0o1777 } },
    ["world-writable /usr/share/tmp"],
  ],
  ["setuid", { "/usr/bin/su": { content: "", mode: 0o4755 } }, ["setuid /usr/bin/su"]],
  ["setgid", { "/usr/bin/wall": { content: "", mode: 0o2755 } }, ["setuid /usr/bin/wall"]],
  [
    "capabilities",
    { "/usr/bin/ping": { content: "", mode: 0o755, xattrs: new Map([["security.capability", new Uint8Array(20)]]) } },
    ["capability /usr/bin/ping"],
  ],
  ["an owner", { "/usr/bin/o": { content: "", mode: 0o755, uid: 7, gid: 0 } }, ["owner /usr/bin/o"]],
  ["a device", { "/usr/lib/null": { type: "character-device", mode: 0o600 } }, ["special-file /usr/lib/null"]],
  ["a fifo", { "/usr/lib/pipe": { type: "fifo", mode: 0o600 } }, ["special-file /usr/lib/pipe"]],
  ["a dangling link", { "/usr/bin/d": { target: "nowhere" } }, ["link-dangling /usr/bin/d"]],
  [
    "a loop",
    { "/usr/bin/l": { target: "m" }, "/usr/bin/m": { target: "l" } },
    ["link-loop /usr/bin/l", "link-loop /usr/bin/m"],
  ],
  ["a link out", { "/usr/bin/o": { target: "/home/me/x" } }, ["link-outside /usr/bin/o"]],
  ["a relative link out", { "/usr/bin/o": { target: "../../root/x" } }, ["link-outside /usr/bin/o"]],
  ["a masked unit", { "/usr/lib/m": { target: "/dev/null" } }, []],
  ["a link through merged /bin", { "/usr/bin/o": { target: "/bin/x" } }, []],
  ["case", { "/usr/share/A": "", "/usr/share/a": "" }, ["case /usr/share/a"]],
  [
    "an image's own names and closed folders, in a root of its own",
    {
      "/usr/lib/t/root/etc/ssl/private": { type: "directory", mode: 0o700 },
      "/usr/lib/t/root/usr/share/A": "",
      "/usr/lib/t/root/usr/share/a": "",
    },
    [],
  ],
  [
    "a closed root of its own",
    { "/usr/lib/t/root": { type: "directory", mode: 0o700 }, "/usr/lib/t/root/etc/x": "", "/usr/lib/t/root/usr/x": "" },
    ["folder-closed /usr/lib/t/root"],
  ],
  ["no extension-release", { [releaseFile]: { type: "fifo" } }, ["release-missing", `special-file ${releaseFile}`]],
  ["another name", {}, [`release-name ${releaseFile}`], {}, "other.raw"],
  ["a dashed version, X25", {}, [`release-name ${releaseFile}`], {}, "t-1.0.raw"],
  ["an underscored version", {}, ["release-name-new"], {}, "t_1.0.raw"],
  ["a class suffix", {}, ["release-name-new"], {}, "t.sysext.raw"],
  ["a folder's name", {}, [], {}, "t"],
  [
    "another name, not strict",
    {
      [releaseFile]: {
        content: "ID=_any\nARCHITECTURE=x86-64\n",
        xattrs: new Map([["user.extension-release.strict", Buffer.from("0")]]),
      },
    },
    [],
    {},
    "other.raw",
  ],
  ["x86_64", { [releaseFile]: "ID=_any\nARCHITECTURE=x86_64\n" }, [`release-field ${releaseFile}`]],
  ["no ID", { [releaseFile]: "ARCHITECTURE=x86-64\n" }, [`release-field ${releaseFile}`]],
  ["an ID alone", { [releaseFile]: "ID=debian\nARCHITECTURE=x86-64\n" }, [`release-field ${releaseFile}`]],
  ["an ID with a level", { [releaseFile]: "ID=flatcar\nSYSEXT_LEVEL=1.0\nARCHITECTURE=_any\n" }, []],
  ["portable", { [releaseFile]: "ID=_any\nSYSEXT_SCOPE=portable\n" }, [`release-field ${releaseFile}`]],
  ["a unit without a reload", { [`${system}/x.service`]: unit, ...upholds }, [`unit-reload ${releaseFile}`]],
  ["a unit", { [releaseFile]: reload, [`${system}/x.service`]: unit, ...upholds }, []],
  [
    "a unit nobody starts",
    { [releaseFile]: reload, [`${system}/x.service`]: unit },
    [`unit-not-enabled ${system}/x.service`],
  ],
  [
    "a unit started at boot only",
    {
      [releaseFile]: reload,
      [`${system}/x.service`]: unit,
      [`${system}/multi-user.target.wants/x.service`]: { target: "../x.service" },
    },
    [`unit-wants ${system}/multi-user.target.wants/x.service`],
  ],
  [
    "a unit of the old place",
    { [releaseFile]: reload, [`${system}/x.service`]: unit.replace("/usr/bin", "/usr/sbin"), ...upholds },
    [`unit-program-moved ${system}/x.service`],
  ],
  [
    "a unit without its program",
    {
      [releaseFile]: reload,
      // What every host with systemd has is no finding.
      [`${system}/x.service`]: unit.replace(
        "/usr/bin/x",
        "/usr/bin/y\nExecStartPre=/bin/mkdir -p /run/x\nExecStop=/usr/bin/env true",
      ),
      ...upholds,
    },
    [`unit-program ${system}/x.service`],
  ],
  [
    "a unit that starts a tool of systemd's own",
    {
      [releaseFile]: reload,
      [`${system}/x.service`]: unit.replace("/usr/bin/x", "/usr/bin/systemd-tmpfiles"),
      ...upholds,
    },
    [],
  ],
  [
    "a unit with a typing error",
    { [releaseFile]: reload, [`${system}/x.service`]: unit.replace("A=b", "A b"), ...upholds },
    [`unit-syntax ${system}/x.service`],
  ],
  [
    "a user nobody makes",
    { [releaseFile]: reload, [`${system}/x.service`]: unit.replace("[Service]", "[Service]\nUser=www"), ...upholds },
    [`unit-user ${system}/x.service`],
  ],
  [
    "a user that sysusers makes",
    {
      [releaseFile]: reload,
      [`${system}/x.service`]: unit.replace("[Service]", "[Service]\nUser=www"),
      ...upholds,
      "/usr/lib/sysusers.d/t.conf": 'u www - "Web"\n',
    },
    [],
  ],
];

describe("each mistake is told", () => {
  test.each(rows)("%s", (_, entries, wanted, options = {}, fileName = "t.raw") => {
    const findings = check({ ...good, ...entries }, options, fileName);
    expect(told(findings)).toEqual(
      wanted.map((line) => expect.stringMatching(`^${line.replaceAll(".", "\\.")}( |$)`) as string),
    );
    for (const finding of findings) expect(wordFinding(finding)).toMatch(/^\S.{15,}$/);
  });

  test("every rule has a row here, or below", () => {
    const elsewhere =
      "elf-architecture elf-any elf-interpreter elf-library elf-damaged shadowed-file shadowed-mode collision damaged name";
    const covered = new Set([
      ...rows.flatMap((row) => row[2].map((line) => line.split(" ")[0])),
      ...elsewhere.split(" "),
    ]);
    expect(new Set(Object.keys(wordings))).toEqual(covered);
  });
});

describe("programs", () => {
  const whole = (): Entries => ({
    ...good,
    "/usr/bin/p": { content: program, mode: 0o755 },
    "/usr/lib/p/ld.so": { content: loader, mode: 0o755 },
    "/usr/lib/p/libown.so": library,
  });
  const without = (path: string) => Object.fromEntries(Object.entries(whole()).filter(([key]) => key !== path));

  test("that have all they need", () => {
    expect(check(whole())).toEqual([]);
  });

  test("whose loader or library is missing, or is no loader", () => {
    expect(told(check(without("/usr/lib/p/ld.so")))).toEqual(["elf-interpreter /usr/bin/p"]);
    const [finding, ...others] = check(without("/usr/lib/p/libown.so"));
    expect(others).toEqual([]);
    expect(finding).toMatchObject({ rule: "elf-library", path: "/usr/bin/p", facts: { name: "libown.so" } });
    expect(told(check({ ...whole(), "/usr/lib/p/ld.so": library }))).toEqual(["elf-damaged /usr/bin/p"]);
  });

  test("of another architecture, of none named, damaged", () => {
    const release = (architecture: string): Entries => ({ [releaseFile]: `ID=_any\n${architecture}\n` });
    const rules = (entries: Entries) => new Set(check(entries).map(({ rule }) => rule));
    expect(rules({ ...whole(), ...release("ARCHITECTURE=arm64") })).toContain("elf-architecture");
    expect(rules({ ...whole(), ...release("ARCHITECTURE=x86-64") })).not.toContain("elf-architecture");
    expect(rules({ ...whole(), ...release("") })).toContain("elf-any");
    expect(rules({ ...good, "/usr/bin/cut": program.subarray(0, 70) })).toContain("elf-damaged");
  });

  test("of a private root are looked at from within it", () => {
    const inside = (at: string): Entries => ({
      [`${at}/usr/bin/p`]: { content: program, mode: 0o755 },
      [`${at}/usr/lib/p/ld.so`]: { content: loader, mode: 0o755 },
      [`${at}/usr/lib/p/libown.so`]: library,
      [`${at}/etc/x`]: { target: "/no/where" },
      [`${at}/tmp`]: { type: "directory", mode: 0o1777 },
    });
    const findings = check({ ...good, ...inside("/usr/lib/flixwrap/t") });
    expect(countFindings(findings.filter(({ rule }) => !rule.startsWith("elf")))).toEqual({
      error: 0,
      warning: 0,
      note: 1,
    });
  });
});

describe("against a real host", () => {
  const host = memoryRootfs({
    "/usr/sbin": { target: "bin" },
    "/usr/bin/ls": "host",
    "/usr/lib/own/libmine.so.1": "",
    "/usr/lib/libhost.so.1": "",
    "/usr/share/doc/README": "",
  });
  test("what it has and what it would lose", () => {
    const findings = check(
      {
        ...good,
        "/usr/sbin/x": "",
        "/usr/bin/ls": { content: "mine", mode: 0o755 },
        "/usr/lib/libhost.so.1": "",
        "/usr/share/doc": { target: "x" },
        "/usr/bin/list": { target: "ls-gone" },
      },
      { host },
    );
    const severities = findings.map(({ rule, severity, path }) => `${severity} ${rule} ${path}`);
    expect(severities.sort((a, b) => a.localeCompare(b))).toEqual([
      "error host-library /usr/lib/libhost.so.1",
      "error link-dangling /usr/bin/list",
      "error link-dangling /usr/share/doc",
      "error shadowed-file /usr/share/doc",
      "error shadowed-link /usr/sbin",
      "warning shadowed-file /usr/bin/ls",
      "warning shadowed-file /usr/lib/libhost.so.1",
    ]);
  });
});

test("--no-check lets one rule pass; unknown names are a usage error", () => {
  const entries = { ...good, "/usr/sbin/x": "", "/etc/x": "" };
  expect(told(check(entries, { skip: ["shadowed-link"] }))).toEqual(["outside /etc"]);
  expect(() => check(entries, { skip: ["nonsense"] })).toThrow("no such check");
  expect(() => check(entries, { hosts: ["beos"] })).toThrow("no such host profile");
});

test("errors stop a build, all at once; warnings do not", () => {
  const findings = check({ ...good, "/usr/sbin/x": "", "/etc/x": "" });
  expect(() => refuseErrors(findings)).toThrow(
    /2 errors.*\n {2}\/etc: .*\[outside\]\n {2}\/usr\/sbin: .*\[shadowed-link\]/,
  );
  // What lets it pass is every rule, each once.
  expect(() => refuseErrors([...findings, ...findings])).toThrow(
    "--no-check outside --no-check shadowed-link lets it pass",
  );
  expect(() => refuseErrors(check({ ...good, "/usr/bin/d": { target: "nowhere" } }))).not.toThrow();
});

test("SARIF names rule, level and place", () => {
  const findings = check({ ...good, "/usr/sbin/x": "" });
  const log = JSON.parse(formatSarif([{ files: ["out/50% #1?.raw", "/u.raw"], findings }], "1.0")) as {
    runs: { tool: { driver: { rules: { id: string }[] } }; results: Record<string, unknown>[] }[];
  };
  expect(log.runs[0]!.tool.driver.rules).toMatchObject([{ id: "shadowed-link" }]);
  expect(log.runs[0]!.results).toMatchObject([
    {
      ruleId: "shadowed-link",
      ruleIndex: 0,
      level: "error",
      locations: ["out/50%25%20%231%3F.raw", "/u.raw"].map((uri) => ({
        physicalLocation: { artifactLocation: { uri } },
        logicalLocations: [{ fullyQualifiedName: "/usr/sbin" }],
      })),
    },
  ]);
});

describe("several extensions", () => {
  test("X23: the later name wins, equal folders do not collide", () => {
    const extension = (name: string, entries: Entries) => ({ name, rootfs: memoryRootfs(entries) });
    const findings = findCollisions([
      extension("bbb", { "/usr/bin/same": "b", "/usr/bin/b": "" }),
      extension("aaa", { "/usr/bin/same": "a", "/usr/share": { type: "directory", mode: 0o700 } }),
      extension("ccc", { "/usr/share/x": "" }),
    ]);
    expect(findings.map(({ path, facts }) => [path, facts["winner"], facts["extensions"]])).toEqual([
      ["/usr/bin/same", "bbb", "aaa, bbb"],
      ["/usr/share", "ccc", "aaa, ccc"],
    ]);
  });

  // systemd-analyze(1) compare-versions: 0 equal, 11 the first is newer, 12 the second is.
  const versions =
    "1.0 1.0.1 1.1.0 1.10.0 1.0~rc1 1.0-1 1.0^git 1.0a 1.0b 01.0 1_0 a A b 1 0 10 9 aaa bbb foo-1.2 foo-1.10 v1 ~ ^ - .".split(
      " ",
    );
  test("names sort as systemd sorts them", () => {
    const pairs = versions.flatMap((a, i) => versions.slice(i).map((b) => [a, b] as const));
    const script = pairs
      .map(([a, b]) => `systemd-analyze compare-versions -- '${a}' '${b}' >/dev/null; echo $?`)
      .join("\n");
    const status = execFileSync("sh", ["-c", script], { encoding: "utf8" }).trim().split("\n");
    const wanted = status.map((code) => ({ "0": 0, "11": 1, "12": -1 })[code]);
    expect(pairs.map(([a, b]) => [a, b, compareVersions(a, b)])).toEqual(pairs.map(([a, b], i) => [a, b, wanted[i]]));
  });
});
