import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { checkExtension } from "../../src/extension/check/check.ts";
import { compareVersions } from "../../src/extension/check/collisions.ts";
import { parseNotes, planRelease, type Release } from "../../src/extension/release.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { checkFiles } from "../../src/image/check.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import { extensionRootfs } from "../../src/extension/tree-rootfs.ts";
import { packTree } from "../../src/pack/pack.ts";
import { bootAndRun, copyRoot, systemd257 } from "./pack-guest.ts";

/** The host of section 5: `ID=testos VERSION_ID=1 SYSEXT_LEVEL=1.0`. */
const osRelease = "ID=testos\nVERSION_ID=1\nSYSEXT_LEVEL=1.0\n";

interface Case {
  /** Where it stands below /var/lib/extensions. */
  readonly path: string;
  /** The extension's; `foo` when not given. */
  readonly name?: string;
  /** What is in its one file. */
  readonly mark?: string;
  /** Lines of its extension-release. */
  readonly release?: string;
  readonly anyFileName?: true;
  readonly osRelease?: true;
  /** What systemd 252 and 257 make of it; the check below must have said so. */
  readonly merged: readonly [on252: boolean, on257: boolean];
}

const yes = [true, true] as const;
const no = [false, false] as const;
const newer = [false, true] as const;
const any = "ID=_any\n";
const cases: Readonly<Record<string, Case>> = {
  image: { path: "foo.raw", merged: yes },
  folder: { path: "foo", merged: yes },
  underscored: { path: "foo_1.0.raw", merged: newer },
  class: { path: "foo.sysext.raw", merged: newer },
  both: { path: "foo_1.0.sysext.raw", merged: newer },
  dashed: { path: "foo-1.0.raw", merged: no },
  published: { path: "foo-1.0-x86-64.raw", merged: no },
  other: { path: "bar.raw", merged: no },
  versionAndArchitecture: { path: "foo_1.2_x86-64.raw", merged: newer },
  manyUnderscores: { path: "foo_1_2_3.raw", merged: newer },
  underscoredName: { path: "my_tool.raw", name: "my_tool", merged: yes },
  underscoredNameAndVersion: { path: "my_tool_1.0.raw", name: "my_tool", merged: no },
  underscoredNameAndClass: { path: "my_tool.sysext.raw", name: "my_tool", merged: newer },
  versionInFolder: { path: "foo.raw.v/foo_1.2.raw", merged: newer },
  versions: { path: "foo.raw.v/foo_1.2_x86-64.raw", merged: newer },
  laxDashed: { path: "foo-1.0.raw", anyFileName: true, merged: yes },
  laxPublished: { path: "foo-1.0-x86-64.raw", anyFileName: true, merged: yes },
  laxOther: { path: "bar.raw", anyFileName: true, merged: yes },
  idAlone: { path: "foo.raw", release: "ID=testos\n", merged: no },
  sameVersion: { path: "foo.raw", release: "ID=testos\nVERSION_ID=1\n", merged: yes },
  otherVersion: { path: "foo.raw", release: "ID=testos\nVERSION_ID=2\n", merged: no },
  sameLevel: { path: "foo.raw", release: "ID=testos\nSYSEXT_LEVEL=1.0\n", merged: yes },
  otherLevel: { path: "foo.raw", release: "ID=testos\nVERSION_ID=1\nSYSEXT_LEVEL=2\n", merged: no },
  otherSystem: { path: "foo.raw", release: "ID=beos\nVERSION_ID=1\n", merged: no },
  anyWithVersion: { path: "foo.raw", release: `${any}VERSION_ID=7\nSYSEXT_LEVEL=9\n`, merged: yes },
  noId: { path: "foo.raw", release: "ARCHITECTURE=x86-64\n", merged: no },
  arm: { path: "foo.raw", release: `${any}ARCHITECTURE=arm64\n`, merged: no },
  intel: { path: "foo.raw", release: `${any}ARCHITECTURE=x86-64\n`, merged: yes },
  misspelt: { path: "foo.raw", release: `${any}ARCHITECTURE=x86_64\n`, merged: no },
  docker: { path: "foo.raw", release: `${any}ARCHITECTURE=amd64\n`, merged: no },
  anyArchitecture: { path: "foo.raw", release: `${any}ARCHITECTURE=_any\n`, merged: yes },
  portable: { path: "foo.raw", release: `${any}SYSEXT_SCOPE=portable\n`, merged: no },
  scoped: { path: "foo.raw", release: `${any}SYSEXT_SCOPE="system initrd"\n`, merged: yes },
  carriageReturns: { path: "foo.raw", release: "ID=_any\r\nARCHITECTURE=x86-64\r\n", merged: yes },
  system: { path: "foo.raw", osRelease: true, merged: no },
};

/** Images that all bring one path; what is seen of it tells the order. */
const names = "9 10 A B a a-1 a-1.9 a-1.10 a-1.10.1 a.1 a+1 aa ab b z1 z2 z10".split(" ");

/** Every field that can be written, as its lines shall be read. */
const fields: Release = {
  name: "fields",
  os: "testos",
  versionId: "1.2",
  sysextLevel: "2.0",
  scope: ["system", "initrd"],
  architecture: "x86-64",
  reload: true,
  restartUnits: ["a.service"],
  reloadOrRestartUnits: ["b.service", "c@1.service"],
  notes: parseNotes(["SYSEXT_ID=foo", "SYSEXT_VERSION_ID=3", 'SYSEXT_PRETTY_NAME=Foo "the" $great']),
};
const lines = [
  "ID=testos",
  "VERSION_ID=1.2",
  "SYSEXT_LEVEL=2.0",
  "SYSEXT_SCOPE=system initrd",
  "ARCHITECTURE=x86-64",
  "EXTENSION_RELOAD_MANAGER=1",
  "EXTENSION_RESTART_UNITS=a.service",
  "EXTENSION_RELOAD_OR_RESTART_UNITS=b.service c@1.service",
  "SYSEXT_ID=foo",
  "SYSEXT_VERSION_ID=3",
  'SYSEXT_PRETTY_NAME=Foo "the" $great',
];

const context = quietContext({ env: process.env });
let folder: string;
let guest: string;
let host: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "names-test-"));
  guest = copyRoot(systemd257());
  host = join(folder, "host");
  for (const place of ["etc", "run", "var/lib/extensions", "usr/bin", "usr/lib", "usr/share", "opt"])
    mkdirSync(join(host, place), { recursive: true });
  symlinkSync("../usr/lib/os-release", join(host, "etc/os-release"));
  for (const root of [host, guest]) writeFileSync(join(root, "usr/lib/os-release"), osRelease);
  for (const [name, one] of Object.entries(cases)) {
    const output = join(host, "cases", name, one.path);
    mkdirSync(dirname(output), { recursive: true });
    await packTree(treeOf(one), { format: one.path.endsWith(".raw") ? "squashfs" : "dir", output }, context);
  }
  // X24: beside a sound image lies one that was cut short.
  const broken = join(host, "cases/broken");
  mkdirSync(broken);
  cpSync(join(host, "cases/image/foo.raw"), join(broken, "foo.raw"));
  const whole = join(folder, "bad.raw");
  const mark = randomBytes(50_000).toString("hex");
  await packTree(treeOf({ path: "", merged: no, name: "bad", mark }), { format: "squashfs", output: whole }, context);
  writeFileSync(join(broken, "bad.raw"), readFileSync(whole).subarray(0, 20_000));
  for (const name of names)
    await packTree(
      treeOf({ path: "", merged: yes, name, mark: name }),
      { format: "dir", output: inOrder(name) },
      context,
    );
  const plan = { source: memoryRootfs({}), actions: [planRelease(fields)], warnings: [] };
  const described = join(host, "fields.raw");
  await packTree(buildTree(plan, { name: "fields" }), { format: "squashfs", output: described }, context);
  cpSync(described, join(guest, "fields.raw"));
  cpSync(join(host, "order"), join(guest, "order"), { recursive: true });
  cpSync(join(host, "cases"), join(guest, "cases"), { recursive: true });
});
afterAll(() => {
  for (const path of [folder, guest]) rmSync(path, { recursive: true, force: true });
});

const inOrder = (name: string) => {
  const place = join(host, "order", name);
  mkdirSync(dirname(place), { recursive: true });
  return place;
};

function treeOf({ name = "foo", mark = "", release = any, anyFileName, osRelease: hasSystem }: Case) {
  const write = (path: string, text: string) =>
    ({ kind: "write", to: extPath(path), content: Buffer.from(text), mode: 0o644, why: "" }) as const;
  const planned = planRelease({ name, ...(anyFileName && { anyFileName }) });
  const actions = [
    { ...planned, content: Buffer.from(release) } as typeof planned,
    write("/usr/share/mark", mark),
    ...(hasSystem ? [write("/usr/lib/os-release", osRelease)] : []),
  ];
  return buildTree({ source: memoryRootfs({}), actions, warnings: [] }, { name });
}

/** Merges each case alone; prints the names of those that the host then has. */
const script = (sysext: string, root: string) => `
cd ${root}/
for one in cases/*; do
  cp -a $one/. var/lib/extensions/
  ${sysext} merge >/dev/null 2>&1
  [ ! -e usr/share/mark ] || echo "\${one#cases/}"
  ${sysext} unmerge >/dev/null 2>&1
  rm -rf var/lib/extensions/*
done
echo "told $(systemd-dissect --json=short fields.raw 2>&1 | tr '\\n' ' ')"
cp -a order/. var/lib/extensions/
while [ -n "$(ls var/lib/extensions)" ]; do
  ${sysext} merge >/dev/null 2>&1 || break
  top=$(cat usr/share/mark)
  echo "order $top"
  ${sysext} unmerge >/dev/null 2>&1
  rm -rf "var/lib/extensions/$top"
done
`;
/** What the host showed: which cases it merged, and the names from the top of the stack downwards. */
const read = (said: string) => {
  const all = said.trim().split("\n");
  const after = (word: string) => all.filter((line) => line.startsWith(word)).map((line) => line.slice(word.length));
  const told = after("told ").join(" ");
  return {
    merged: all.filter((line) => !/^(order|told) /.test(line)).toSorted(),
    order: after("order "),
    unread: lines.filter((line) => !told.includes(JSON.stringify(line))).concat(told.startsWith("{") ? [] : [told]),
  };
};
const expected = (at: 0 | 1) => ({
  merged: Object.keys(cases)
    .filter((name) => cases[name]!.merged[at])
    .toSorted(),
  order: names.toSorted(compareVersions).toReversed(),
  unread: [],
});

test("systemd 257, booted, merges what is foreseen", () => {
  const said = bootAndRun(guest, script("systemd-sysext", ""));
  expect(read(said)).toEqual(expected(1));
});

test("this machine's systemd 252 merges what is foreseen", () => {
  const version = execFileSync("systemd-sysext", ["--version"], { encoding: "utf8" });
  expect(version).toMatch(/^systemd 252 /);
  const prepare = "mount --make-rshared /; mount -t tmpfs tmpfs /run";
  const run = spawnSync(
    "unshare",
    ["-m", "bash", "-ec", `${prepare}\nset +e\n${script(`systemd-sysext --root=${host}`, host)}`],
    {
      encoding: "utf8",
    },
  );
  expect(run.stderr).toBe("");
  expect(read(run.stdout)).toEqual(expected(0));
});

describe("check says so beforehand", () => {
  /** Whatever names a host of its own is refused by others, which nobody can know before. */
  const foreign = ["otherVersion", "otherLevel", "otherSystem", "arm"];
  test.each(Object.keys(cases).filter((name) => !foreign.includes(name)))("%s", (name) => {
    const one = cases[name]!;
    const fileName = one.path.slice(one.path.lastIndexOf("/") + 1);
    const told = new Set(
      checkExtension(extensionRootfs(treeOf(one)), fileName)
        .filter(({ severity, rule }) => severity !== "note" || rule === "release-name-new")
        .map(({ rule }) => rule),
    );
    const [on252, on257] = one.merged;
    const wanted = on252 ? "nothing" : on257 ? "newer" : "refused";
    const said = told.size === 0 ? "nothing" : told.has("release-name-new") ? "newer" : "refused";
    expect(said, [...told].join(" ")).toBe(wanted);
  });
});

test("X24: check names the image that keeps the others from being merged", async () => {
  const files = ["bad.raw", "foo.raw"].map((name) => join(host, "cases/broken", name));
  const { reports } = await checkFiles(files, {}, context);
  expect(reports.map(({ findings }) => findings.map(({ rule, severity }) => `${severity} ${rule}`))).toEqual([
    ["error damaged"],
    [],
  ]);
});
