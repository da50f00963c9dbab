import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { flixwrap, main, scratch, sh } from "../support/program.ts";

const folder = scratch();
const at = (name: string) => join(folder, name);
const pack = (...options: readonly string[]) => flixwrap(["pack", "--quiet", ...options], { cwd: folder });

beforeAll(() => {
  for (const place of ["tree/usr/bin", "empty", "etc-only/etc", "large/usr/share", "host/usr/lib", "tmp"])
    mkdirSync(at(place), { recursive: true });
  writeFileSync(at("tree/usr/bin/hey"), "#!/bin/sh\necho hey\n", { mode: 0o755 });
  writeFileSync(at("large/usr/share/noise"), randomBytes(20_000_000));
  writeFileSync(at("host/usr/lib/os-release"), "ID=testos\n");
  writeFileSync(at("text"), "text\n");
  writeFileSync(at("zero.raw"), "");
  mkdirSync(at("published"));
  expect(pack("tree", "foo", "-o", "published/foo-1.0-x86-64.raw")).toMatchObject({ status: 0 });
  for (const format of ["squashfs", "erofs", "ext4", "btrfs", "ddi"])
    expect(pack("tree", "foo", "--arch", "x86-64", "--format", format, "-o", `${format}.raw`)).toMatchObject({
      status: 0,
    });
  for (const format of ["squashfs", "erofs", "ext4", "btrfs", "ddi"]) {
    writeFileSync(at(`short-${format}.raw`), readFileSync(at(`${format}.raw`)));
    truncateSync(at(`short-${format}.raw`), { ext4: 5000, btrfs: 1 << 20 }[format] ?? 1500);
  }
});

/** What is there and how large, so that whatever a failure leaves shows. */
const listing = () =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();

type Row = readonly [line: string, status: 1 | 2, message: RegExp];
const shorts = ["squashfs", "erofs", "ext4", "btrfs", "ddi"].flatMap((format): Row[] =>
  ["info", "unpack", "try"].map((command): Row => {
    const [more, folders] = [command === "try" ? " -- true" : "", command === "unpack" ? " new" : ""];
    return [`${command} short-${format}.raw${folders}${more}`, 1, /damaged or hostile image: short-\w+\.raw/];
  }),
);

// More of it, of the options above all, stands in pack-options.test.ts.
test.each<Row>([
  ["pack missing foo", 1, /no such folder: missing/],
  ["pack text foo", 1, /not a folder: text/],
  ["pack empty foo", 1, /nothing for an extension: dir:empty/],
  ["pack etc-only foo", 1, /nothing for an extension: dir:etc-only/],
  ["pack tree foo -o none/foo.raw", 1, /cannot write into the output's folder: .*none: got no such file or folder/],
  [
    "pack tree foo -o -",
    2,
    /no image is written to standard output: got --output -; a file of that name is written \.\/-/,
  ],
  ["pack tree foo -o text", 1, /will not replace the output: .*text: got a file that is none of ours/],
  ["pack tree foo -o empty", 1, /will not replace the output: .*empty: got a folder/],
  ["pack tree foo -o /proc/foo.raw", 1, /^pack: mksquashfs failed/],
  ["pack tree foo --format ext4 --size 10K", 1, /the tree does not fit: got 10240 bytes/],
  ["pack tree foo --size 10M", 2, /--size means nothing to the format squashfs: wanted --format ext4, ext2$/],
  ["pack tree foo --seed x", 2, /--seed means nothing to the format squashfs: wanted --format ddi$/],
  ["pack tree foo --filesystem erofs", 2, /--filesystem means nothing to/],
  ["pack tree foo --format ext4 --level 3", 2, /--level means nothing to the format ext4/],
  ["pack tree foo --format tar --compression zstd", 2, /--compression means nothing to the format tar/],
  ["pack tree foo --format ext4 --block-size 4096", 2, /--block-size means nothing to the format ext4/],
  // Who gives a key believes that the image is signed.
  ["pack tree foo --private-key k --certificate c", 2, /--private-key means nothing to the format squashfs: wanted/],
  ["pack tree foo --butane", 2, /--butane needs --update-url/],
  ["pack tree foo --format dir --checksums", 2, /--checksums is for image files, not for --format dir/],
  ["pack tree foo --gpg-key nobody@example.org", 1, /GnuPG has no secret key of that name: nobody@example.org/],
  ["check missing.raw", 1, /cannot open the extension: missing.raw/],
  ["check --host missing squashfs.raw", 1, /no such folder: missing/],
  ["check --host text squashfs.raw", 1, /not a folder: text/],
  ["check --host empty squashfs.raw", 1, /no host's root folder: empty: wanted one that has usr/],
  ["info zero.raw", 1, /no image of an extension that can be read here: zero.raw: got an empty file/],
  ["info /dev/null", 1, /neither a file nor a folder: \/dev\/null/],
  ["compare squashfs.raw missing.raw", 1, /cannot open the extension: missing.raw/],
  ["unpack squashfs.raw text", 1, /will not replace the output: .*text: got a file; remove it first/],
  ["try --host missing squashfs.raw -- true", 1, /no such folder: missing/],
  ["try --host empty squashfs.raw -- true", 1, /no host's root folder: empty/],
  ["index missing", 1, /cannot read the folder: missing: got no such file or folder/],
  ["index text", 1, /cannot read the folder: text: got a part of the path is not a folder/],
  ["index published --gpg-key nobody@example.org", 1, /GnuPG has no secret key of that name: nobody@example.org/],
  ["index published --best-before tomorrow", 1, /no day \(YYYY-MM-DD\): got tomorrow/],
  ["index empty", 1, /no image to index: empty/],
  ...shorts,
])("%s: one clear line, nothing left", (line, status, message) => {
  const before = listing();
  const args = line.split(" ");
  const quiet = ["pack", "unpack"].includes(args[0]!) ? ["--quiet"] : [];
  const run = flixwrap([args[0]!, ...quiet, ...args.slice(1)], { cwd: folder, env: { TMPDIR: at("tmp") } });
  const [first, ...more] = run.stderr.trimEnd().split("\n");
  expect(run).toMatchObject({ status, stdout: "" });
  expect(first).toMatch(message);
  // A tool's own words are indented below.
  expect(more.filter((one) => !one.startsWith("  "))).toEqual([]);
  expect(listing()).toEqual(before);
});

test.each([
  ["as text", [], /^(squashfs\.raw: .*\n)+damaged\.raw: error: .*\[damaged\]\n$/],
  ["as JSON", ["--json"], /^\{"file":"squashfs\.raw","findings":.*\}\n\{"file":"damaged\.raw",.*\}\n$/],
  ["as SARIF", ["--sarif"], /^\{\n[^]*"ruleId": "damaged"[^]*\n\}\n$/],
])("check tells %s what it could read, and in one line on the error output what it could not", (_, options, told) => {
  writeFileSync(at("damaged.raw"), "hsqs");
  const args = ["check", ...options, "squashfs.raw", "missing.raw", "damaged.raw"];
  const { status, stdout, stderr } = flixwrap(args, { cwd: folder });
  expect({ status, stdout }).toEqual({ status: 1, stdout: expect.stringMatching(told) });
  for (const text of options.includes("--json") ? stdout.trimEnd().split("\n") : [stdout])
    if (options.length > 0) JSON.parse(text);
  expect(stderr).toMatch(/^[^\n]*cannot open the extension.*missing\.raw[^\n]*\n$/);
  const several = flixwrap([...args, "missing-too.raw"], { cwd: folder });
  expect(several).toMatchObject({ status: 1, stdout });
  expect(several.stderr).toMatch(/cannot check 2 of the extensions[^]*missing\.raw[^]*missing-too\.raw/);
  rmSync(at("damaged.raw"));
});

test("an image that this user may not read is told in one line", () => {
  chmodSync(folder, 0o755);
  writeFileSync(at("closed.raw"), "", { mode: 0 });
  const prefix = process.getuid?.() === 0 ? ["setpriv", "--reuid", "65534", "--clear-groups"] : [];
  for (const command of ["check", "info"]) {
    const run = flixwrap([command, at("closed.raw")], { prefix });
    expect(run).toMatchObject({ status: 1, stdout: "" });
    expect(run.stderr).toMatch(/^\w+: cannot open the extension: .*closed\.raw: got permission denied\n$/);
  }
  rmSync(at("closed.raw"));
});

test("check goes on after a damaged image and tells all", () => {
  const run = flixwrap(["check", "short-erofs.raw", "zero.raw", "text", "empty"], { cwd: folder });
  expect(run).toMatchObject({ status: 1, stderr: "" });
  expect(run.stdout.trimEnd().split("\n")).toEqual([
    expect.stringMatching(
      /^short-erofs\.raw: error: it cannot be read, and one such image keeps systemd.*\[damaged\]$/,
    ),
    expect.stringMatching(/^zero\.raw: error: it cannot be read.*an empty file.*\[damaged\]$/),
    expect.stringMatching(/^text: error: it cannot be read.*an unknown format.*\[damaged\]$/),
    expect.stringMatching(/^empty: error: .*\[release-missing\]$/),
  ]);
});

describe("on a disk that is full", () => {
  const small = at("small");
  const run = (script: string) =>
    sh(
      `mkdir -p ${small}; exec unshare --mount sh -c 'mount -t tmpfs -o size=4m none ${small}
flixwrap() { status=0; ${process.execPath} ${main} "$@" 2>&1 >/dev/null || status=$?; echo status $status; ls -A ${small}; }
${script}'`,
      { cwd: folder },
    ).trimEnd();

  test.each(["squashfs", "erofs", "ext4", "ext2", "btrfs", "tar", "dir", "ddi"])(
    "%s: one line, no half image",
    (format) => {
      const told = run(`flixwrap pack -q large foo --arch x86-64 --format ${format} -o ${small}/x`).split("\n");
      expect(told).toEqual([expect.stringMatching(/^pack: cannot write .*no space left on the disk/), "status 1"]);
    },
  );

  test("a full TMPDIR, a folder that is unpacked, a trial", () => {
    const told = run(`TMPDIR=${small} flixwrap pack -q large foo --format erofs -o x.raw
flixwrap pack -q large foo
flixwrap unpack -q foo.raw ${small}/new
TMPDIR=${small} flixwrap try --method overlay foo.raw -- true`).split("\n");
    expect(told).toEqual([
      expect.stringMatching(/^pack: cannot write .*no space left on the disk$/),
      "status 1",
      "status 0",
      expect.stringMatching(/^unpack: cannot write .*no space left on the disk$/),
      "status 1",
      expect.stringMatching(/^try: cannot write .*no space left on the disk$/),
      "status 1",
    ]);
    expect(existsSync(at("x.raw"))).toBe(false);
  });

  test.each(["info squashfs.raw", "check --sarif squashfs.raw", "info --files --json squashfs.raw"])(
    "the answer of %s",
    (line) => {
      const told = sh(`status=0; ${process.execPath} ${main} ${line} 2>&1 >/dev/full || status=$?; echo $status`, {
        cwd: folder,
      });
      expect(told).toMatch(/^\w+: cannot write to standard output: got no space left on the disk\n1\n$/);
    },
  );
});

test("a file system that is read-only", () => {
  for (const place of ["fixed", "fixed-index"]) mkdirSync(at(place));
  const told = sh(
    `unshare --mount sh -c 'mount -t tmpfs -o ro none fixed
mount --bind published fixed-index; mount -o remount,ro,bind fixed-index
for line in "pack -q tree foo -o fixed/x" "pack -q tree foo --format dir -o fixed/x" "unpack -q squashfs.raw fixed/x" "index fixed-index"; do
  ${process.execPath} ${main} $line 2>&1 || echo $?; done'`,
    { cwd: folder },
  );
  const line = "cannot write into the output's folder: .*/fixed: got the file system is read-only";
  expect(told).toMatch(
    new RegExp(
      `^pack: ${line}\n1\npack: ${line}\n1\nunpack: ${line}\n1\nindex: cannot write the index: fixed-index: got the file system is read-only\n1\n$`,
    ),
  );
});

describe("interrupted", () => {
  /** Starts, interrupts when something shows that work is being done, and tells the end. */
  async function interrupt(args: readonly string[], isBusy: () => boolean) {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: folder,
      env: { PATH: process.env["PATH"], TMPDIR: at("tmp") },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (text: Buffer) => (said += text.toString()));
    while (!isBusy() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
    // SIGTERM, which a terminal does not send to the children as well.
    child.kill("SIGTERM");
    const [status] = (await once(child, "close")) as [number];
    return { status, said };
  }

  test.each(["squashfs", "erofs", "tar", "dir", "ddi"])("pack --format %s", async (format) => {
    const before = listing();
    const parts = () => readdirSync(folder).some((name) => name.endsWith(".part")) || readdirSync(at("tmp")).length > 0;
    const args = `pack -q large foo --arch x86-64 --format ${format} -o new.out`.split(" ");
    expect(await interrupt(args, parts)).toEqual({ status: 143, said: "pack: interrupted\n" });
    expect(listing()).toEqual(before);
  });

  test.each(["sysext", "overlay"])("try --method %s", async (method) => {
    sh(`mv squashfs.raw foo.raw 2>/dev/null || true`, { cwd: folder });
    const [before, mounts] = [listing(), readFileSync("/proc/self/mountinfo", "utf8")];
    const args = ["try", "--method", method, "foo.raw", "--", "sh", "-c", `touch ${at("tmp")}/begun; exec sleep 60`];
    const run = await interrupt(args, () => existsSync(at("tmp/begun")));
    expect(run.status).toBe(143);
    expect(run.said).toMatch(/try: interrupted\n$/);
    sh("rm tmp/begun", { cwd: folder });
    expect(listing()).toEqual(before);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(mounts);
  });
});
