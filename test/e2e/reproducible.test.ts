import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { debianRoot } from "../support/debian-root.ts";
import { flixFolder, flixwrap, scratch, sh, type Surroundings } from "../support/program.ts";

const work = scratch();
chmodSync(work, 0o777);
const root = debianRoot(["b3sum", "nginx-light"]);
const entries = ["/usr/bin/b3sum", "/usr/sbin/nginx", "/usr/share/nginx"];

const build = (output: string, surroundings: Surroundings = {}, order = entries, prefix = ""): string => {
  const file = join(work, output);
  const { status, stderr } = flixwrap(["flix", "--quiet", "-o", file, `dir:${root}`, "both", ...order], surroundings);
  expect(stderr.replaceAll(/^warning .*\n/gm, "")).toBe(prefix);
  expect(status).toBe(0);
  return createHash("sha256").update(readFileSync(file)).digest("hex");
};

const asUser = ["setpriv", "--reuid", "1501", "--regid", "2502", "--clear-groups"];
const shell = (line: string): readonly string[] => ["sh", "-c", `${line}; exec "$@"`, "sh"];

test("the same input gives the same bytes, whoever runs it, wherever and however", () => {
  mkdirSync(join(work, "elsewhere"), { mode: 0o777 });
  chmodSync(join(work, "elsewhere"), 0o777);
  const reference = build("reference.raw");
  const variants: Record<string, string> = {
    again: build("again.raw"),
    "umask 077": build("umask.raw", { prefix: shell("umask 077") }),
    "umask 000": build("umask0.raw", { prefix: shell("umask 000") }),
    "another time zone": build("zone.raw", { env: { TZ: "Pacific/Kiritimati" } }),
    "another locale": build("locale.raw", { env: { LC_ALL: "tr_TR.UTF-8", LANG: "tr_TR.UTF-8" } }),
    "another temporary folder": build("temp.raw", { env: { TMPDIR: join(work, "elsewhere") } }),
    "an ordinary user": build("user.raw", { prefix: asUser }),
    "another order of entries": build("order.raw", {}, entries.toReversed()),
    "one processor": build("processor.raw", { prefix: ["taskset", "-c", "0"] }),
  };
  expect(variants).toEqual(Object.fromEntries(Object.keys(variants).map((name) => [name, reference])));
});

test("SOURCE_DATE_EPOCH is the time of everything in the image", () => {
  build("epoch.raw", { env: { SOURCE_DATE_EPOCH: "1700000000" } });
  const times = new Set(
    sh(`TZ=UTC unsquashfs -lln ${work}/epoch.raw | awk '/^[-dl]/ {print $4, $5}'`).trim().split("\n"),
  );
  expect([...times]).toEqual(["2023-11-14 22:13"]);
});

test("folders are open to everybody, whatever the umask: the merge takes their modes over to the host", () => {
  build("modes.raw", { prefix: shell("umask 077") });
  const folders = sh(`unsquashfs -lln ${work}/modes.raw | awk '/^d/ {print $1, $2}' | sort -u`).trim();
  expect(folders).toBe("drwxr-xr-x 0/0");
});

test("the source folder is the same afterwards, to the bit", () => {
  const state = (): string =>
    sh(
      `cd ${root} && find . -printf '%p %y %m %U %G %s %T@ %l\\n' | LC_ALL=C sort | sha256sum; tar -c --sort=name . | sha256sum`,
    );
  const before = state();
  build("untouched.raw");
  expect(state()).toBe(before);
});

test("nothing is left in the temporary folder", () => {
  const temporary = join(work, "temporary");
  mkdirSync(temporary);
  build("clean.raw", { env: { TMPDIR: temporary } });
  expect(readdirSync(temporary)).toEqual([]);
  expect(readdirSync(work).filter((name) => name.includes("clean"))).toEqual(["clean.raw"]);
});

test("what stands at the output is only replaced when it is an image", () => {
  const precious = join(work, "precious");
  writeFileSync(precious, "my diary\n");
  const { status, stderr } = flixwrap(["flix", "-o", precious, `dir:${root}`, "x", "/usr/bin/b3sum"]);
  expect(stderr).toContain(precious);
  expect(status).toBe(1);
  expect(readFileSync(precious, "utf8")).toBe("my diary\n");
  const folder = join(work, "folder");
  mkdirSync(folder);
  writeFileSync(join(folder, "precious"), "my diary\n");
  expect(flixFolder(folder, root, "x", ["/usr/bin/b3sum"]).status).toBe(1);
  expect(readFileSync(join(folder, "precious"), "utf8")).toBe("my diary\n");
  const first = build("replaced.raw");
  expect(build("replaced.raw")).toBe(first);
});

test.each([
  ["mksquashfs is missing", { env: { PATH: "/nonexistent" } }, "out.raw", /squashfs-tools/],
  ["the output folder is missing", {}, "nowhere/out.raw", /nowhere/],
  ["the output folder is not writable", { prefix: asUser }, "locked/out.raw", /locked/],
])("when %s, one line says so and nothing is left", (_, surroundings, output, message) => {
  const locked = join(work, "locked");
  mkdirSync(locked, { recursive: true, mode: 0o755 });
  const { status, stderr, stdout } = flixwrap(
    ["flix", "--quiet", "-o", join(work, output), `dir:${root}`, "x", "/usr/bin/b3sum"],
    surroundings,
  );
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toMatch(message);
  expect(stdout).toBe("");
  expect(status).toBe(1);
  expect(readdirSync(locked)).toEqual([]);
});

test("a full disk is told in one line, and the half file is gone", () => {
  const script = `mount -t tmpfs -o size=256k tmpfs "$1" && shift && "$@"; status=$?; ls -A "$0"; exit $status`;
  const disk = join(work, "disk");
  mkdirSync(disk);
  const { status, stderr, stdout } = flixwrap(
    ["flix", "--quiet", "-o", join(disk, "x.raw"), `dir:${root}`, "x", "/usr/bin/b3sum"],
    {
      prefix: ["unshare", "--mount", "sh", "-c", script, disk, disk],
    },
  );
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toMatch(/no space|disk/i);
  expect(stdout).toBe("");
  expect(status).toBe(1);
});

test("the image is read by the kernel, with root's owners and one sound extension-release", () => {
  build("kernel.raw");
  const mount = join(work, "mount");
  mkdirSync(mount);
  const script = `mount -o loop,ro ${work}/kernel.raw ${mount} && cat ${mount}/usr/lib/extension-release.d/extension-release.both && find ${mount} -printf '%U:%G\\n' | sort -u`;
  const listing = execFileSync("unshare", ["--mount", "sh", "-ec", script], { encoding: "utf8" });
  expect(listing).toMatch(/^ID=_any\nARCHITECTURE=(x86-64|arm64)\n(FLIXWRAP_\w+=.*\n)*0:0\n$/);
});
