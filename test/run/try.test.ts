import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import { findCollisions } from "../../src/extension/check/collisions.ts";
import type { Action } from "../../src/extension/plan.ts";
import { planRelease } from "../../src/extension/release.ts";
import { buildTree } from "../../src/extension/tree.ts";
import { openExtension } from "../../src/image/open.ts";
import { tryExtensions } from "../../src/image/try.ts";
import { memoryRootfs } from "../../src/oci/memory-rootfs.ts";
import type { Format } from "../../src/pack/formats.ts";
import { packTree } from "../../src/pack/pack.ts";
import { loopDevices, mountTable } from "../support/mounts.ts";

let folder: string;
let host: string;
/** Prints the file it is given, or lists the folder. */
const viewer = `
#include <stdio.h>
#include <dirent.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    DIR *d = opendir(argv[i]);
    for (struct dirent *e; d && (e = readdir(d));) if (e->d_name[0] != '.') printf("%s ", e->d_name);
    FILE *f = d ? 0 : fopen(argv[i], "r");
    for (int c; f && (c = getc(f)) != EOF;) putchar(c);
    if (!d && !f) { fprintf(stderr, "no %s\\n", argv[i]); return 3; }
  }
  return 0;
}`;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "try-test-"));
  host = join(folder, "host");
  for (const place of ["etc", "run", "var/lib/extensions", "usr/bin", "usr/lib", "opt"])
    mkdirSync(join(host, place), { recursive: true });
  symlinkSync("bin", join(host, "usr/sbin"));
  writeFileSync(join(host, "usr/lib/os-release"), "ID=testos\nVERSION_ID=1\nSYSEXT_LEVEL=1.0\n");
  symlinkSync("../usr/lib/os-release", join(host, "etc/os-release"));
  writeFileSync(join(folder, "view.c"), viewer);
  execFileSync("gcc", ["-static", "-o", join(host, "usr/bin/view"), join(folder, "view.c")]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const context = quietContext({ env: process.env });

/** An extension with some files, packed. */
async function make(
  name: string,
  files: Record<string, string>,
  format: Format = "squashfs",
  os = "_any",
): Promise<string> {
  const actions = Object.entries(files).map(([path, content]): Action => ({
    kind: "write",
    to: extPath(path),
    content: Buffer.from(content),
    mode: 0o644,
    why: "",
  }));
  const release = planRelease({ name, os, notes: { FLIXWRAP_VERSION: "0" } });
  const tree = buildTree({ source: memoryRootfs({}), actions: [...actions, release], warnings: [] }, { name });
  const output = join(folder, format === "dir" ? name : `${name}-${format}.raw`);
  await packTree(tree, { format, output }, context);
  return output;
}

describe.each(["sysext", "overlay"] as const)("by %s", (method) => {
  test.each(["squashfs", "dir"] as const)("a %s is seen by the command, and nothing of it stays", async (format) => {
    const before = [mountTable(folder), loopDevices(folder), readdirSync(host, { recursive: true }).length];
    const image = await make("alpha", { "/usr/share/alpha": "A", "/opt/alpha": "O" }, format);
    const started = performance.now();
    const run = await tryExtensions(
      { extensions: [image], command: ["/usr/bin/view", "/usr/share/alpha", "/opt/alpha", "/usr/bin"], host, method },
      context,
    );
    const took = performance.now() - started;
    expect(run).toMatchObject({ status: 0, stdout: "AOview" });
    expect(took).toBeLessThan(2000);
    expect([mountTable(folder), loopDevices(folder), readdirSync(host, { recursive: true }).length]).toEqual(before);
  });

  test("the command's own status comes back", async () => {
    const image = await make("alpha", { "/usr/share/alpha": "A" });
    const run = await tryExtensions(
      { extensions: [image], command: ["/usr/bin/view", "/none"], host, method },
      context,
    );
    expect(run).toMatchObject({ status: 3, stderr: expect.stringContaining("no /none") as string });
  });
});

test("a host without /opt has none afterwards", async () => {
  const bare = join(folder, "bare");
  execFileSync("cp", ["-a", host, bare]);
  rmSync(join(bare, "opt"), { recursive: true });
  const image = await make("alpha", { "/opt/alpha": "O" });
  for (const method of ["sysext", "overlay"] as const) {
    const trial = { extensions: [image], command: ["/usr/bin/view", "/opt/alpha"], host: bare, method };
    expect(await tryExtensions(trial, context)).toMatchObject({ status: 0, stdout: "O" });
    expect(readdirSync(bare).toSorted()).toEqual(["etc", "run", "usr", "var"]);
  }
});

test.each([
  ["exit 125", 125],
  ["kill -9 $$", 137],
] as const)("%s is the command's end, not the merge's", async (script, status) => {
  const image = await make("alpha", { "/usr/share/alpha": "A" });
  const trial = { extensions: [image], command: ["sh", "-c", script], method: "overlay" as const };
  expect(await tryExtensions(trial, context)).toMatchObject({ status });
});

test("an image that systemd cannot read is told as that, not as the command's end", async () => {
  const image = await make("alpha", { "/usr/share/alpha": "A" }, "tar");
  const trial = { extensions: [image], command: ["true"], host, method: "sysext" as const };
  await expect(tryExtensions(trial, context)).rejects.toMatchObject({ code: "pack-try" });
});

test("X23: of two with one path the later name wins, as findCollisions says", async () => {
  const images = [await make("bbb", { "/usr/share/same": "b" }), await make("aaa", { "/usr/share/same": "a" })];
  const command = ["/usr/bin/view", "/usr/share/same"];
  const { stdout } = await tryExtensions({ extensions: images, command, host, method: "sysext" }, context);
  const opened = await Promise.all(images.map((image) => openExtension(image, context)));
  const names = ["bbb", "aaa"];
  const [collision] = findCollisions(opened.map(({ rootfs }, at) => ({ name: names[at]!, rootfs })));
  expect(collision!.facts["winner"]).toBe({ a: "aaa", b: "bbb" }[stdout]);
  for (const one of opened) one.close();
});

test("X20: a real usr/sbin hides the host's link, which is what check says", async () => {
  const image = await make("sbx", { "/usr/sbin/newd": "" });
  const { stdout } = await tryExtensions(
    { extensions: [image], command: ["/usr/bin/view", "/usr/sbin"], host },
    context,
  );
  expect(stdout.trim()).toBe("newd");
});

test("an extension for another system is refused, in one message", async () => {
  const image = await make("other", { "/usr/share/x": "" }, "squashfs", "beos");
  const trial = { extensions: [image], command: ["/usr/bin/view", "/usr"], host, method: "sysext" as const };
  await expect(tryExtensions(trial, context)).rejects.toMatchObject({ code: "pack-try" });
});

test("on this machine's own root", async () => {
  const image = await make("alpha", { "/usr/share/alpha-trial": "here" });
  const run = await tryExtensions(
    { extensions: [image], command: ["cat", "/usr/share/alpha-trial"], method: "overlay" },
    context,
  );
  expect(run).toMatchObject({ status: 0, stdout: "here" });
  expect(() => readFileSync("/usr/share/alpha-trial")).toThrow();
});
