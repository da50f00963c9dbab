import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { extPath } from "../../src/core/paths.ts";
import type { ExtensionTree } from "../../src/extension/tree.ts";
import { type Format, packers } from "../../src/pack/formats.ts";
import { packTree } from "../../src/pack/pack.ts";
import { hardTree, listFolder, listTree } from "./pack-listing.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "pack-test-"));
  chmodSync(folder, 0o777);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const context = quietContext({ env: { PATH: process.env["PATH"] } });
const tree = hardTree();
const sha = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Shows an image through the kernel, in a mount namespace of nobody else. */
function mounted<T>(image: string, options: string, read: (folder: string) => T): T {
  const place = mkdtempSync(join(folder, "mount-"));
  execFileSync("mount", ["-o", `loop,ro,${options}`, image, place]);
  try {
    return read(place);
  } finally {
    execFileSync("umount", [place]);
  }
}

const reproducible: readonly Format[] = ["squashfs", "erofs", "ext4", "ext2", "ddi", "tar"];
const mountable: readonly Format[] = ["squashfs", "erofs", "ext4", "ext2", "btrfs"];

describe.each(mountable)("%s", (format) => {
  test("the kernel shows exactly the tree, all times at the epoch", async () => {
    const output = join(folder, `mount-${format}.raw`);
    const image = await packTree(tree, { format, output, epoch: 86_400 }, context);
    expect(image).toEqual({ path: output, format, size: lstatSync(output).size, sha256: sha(output) });
    const { listing, times } = mounted(output, "noatime", (place) => ({
      listing: listFolder(place),
      times: execFileSync("find", [place, "-printf", "%T@\n"], { encoding: "utf8" }).trim().split("\n"),
    }));
    expect(listing).toEqual(await listTree(tree));
    // mkfs.btrfs gives its root folder the time of day.
    if (format === "btrfs") times.shift();
    expect(new Set(times.map(Number))).toEqual(new Set([86_400]));
  });
});

describe.each(reproducible)("%s", (format) => {
  const variations: [string, () => () => void][] = [
    ["umask 000", () => restoreUmask(process.umask(0))],
    ["umask 077", () => restoreUmask(process.umask(0o77))],
    ["another time zone", () => setVariable("TZ", "Asia/Kathmandu")],
    ["another locale", () => setVariable("LC_ALL", "tr_TR.UTF-8")],
  ];
  test.each(variations)("%s changes no byte", async (name, enter) => {
    const first = await packTree(tree, { format, output: join(folder, `plain-${format}.raw`) }, context);
    const leave = enter();
    try {
      const environment = quietContext({ env: process.env });
      const output = join(folder, `${format}-${name.replaceAll(" ", "-")}.raw`);
      const second = await packTree(hardTree(), { format, output }, environment);
      expect(second.sha256).toBe(first.sha256);
    } finally {
      leave();
    }
  });
});

test("tar: GNU tar extracts exactly the tree", async () => {
  const output = join(folder, "hard.tar");
  await packTree(tree, { format: "tar", output }, context);
  const place = mkdtempSync(join(folder, "tar-"));
  chmodSync(place, 0o755);
  execFileSync("tar", ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", output, "-C", place]);
  expect(listFolder(place)).toEqual(await listTree(tree));
});

test.each(["ext4", "ext2"] as const)("%s: of the size asked for, sound by e2fsck, no room wasted", async (format) => {
  const size = 24 << 20;
  const given = await packTree(tree, { format, output: join(folder, `given-${format}.raw`), size }, context);
  expect(given.size).toBe(size);
  const small = await packTree(tree, { format, output: join(folder, `small-${format}.raw`) }, context);
  expect(small.size).toBeLessThan(8 << 20);
  for (const { path } of [given, small]) execFileSync("e2fsck", ["-f", "-n", path], { stdio: "pipe" });
  await expect(
    packTree(tree, { format, output: join(folder, "tight.raw"), size: 1 << 20 }, context),
  ).rejects.toMatchObject({
    code: "pack-size",
  });
});

test("squashfs: unsquashfs extracts exactly the tree; compressors and block sizes as asked", async () => {
  for (const [compression, blockSize] of [
    ["zstd", 131_072],
    ["xz", 1_048_576],
    ["lz4", 65_536],
    ["gzip", 4096],
  ] as const) {
    const output = join(folder, `${compression}.raw`);
    await packTree(tree, { format: "squashfs", output, compression, blockSize }, context);
    const facts = execFileSync("unsquashfs", ["-s", output], { encoding: "utf8" });
    expect(facts).toContain(`Compression ${compression}\n`);
    expect(facts).toContain(`Block size ${blockSize}\n`);
    const place = join(folder, `extracted-${compression}`);
    execFileSync("unsquashfs", ["-q", "-n", "-d", place, output]);
    expect(listFolder(place)).toEqual(await listTree(tree));
  }
});

test.each([
  [{ compression: "lzma" }, "pack-compression"],
  [{ compression: "zstd", level: 23 }, "pack-compression"],
  [{ compression: "xz", level: 1 }, "pack-compression"],
  [{ blockSize: 1000 }, "pack-block-size"],
  [{ blockSize: 2_097_152 }, "pack-block-size"],
])("squashfs refuses %j before anything is written", async (options, code) => {
  const output = join(folder, "refused.raw");
  await expect(packTree(tree, { format: "squashfs", output, ...options }, context)).rejects.toMatchObject({ code });
  expect(readdirSync(folder).filter((name) => name.includes("refused"))).toEqual([]);
});

describe("dir", () => {
  test("the folder is exactly the tree and is replaced as a whole", async () => {
    const output = join(folder, "hard");
    await packTree(tree, { format: "dir", output }, context);
    expect(listFolder(output)).toEqual(await listTree(tree));
    const smaller: ExtensionTree = {
      ...tree,
      nodes: new Map([...tree.nodes].filter(([path]) => !path.startsWith("/opt"))),
    };
    await packTree(smaller, { format: "dir", output }, context);
    expect(listFolder(output)).toEqual(await listTree(smaller));
  });

  test("an ordinary user gets all but owners and capabilities, and is told so", async () => {
    const warnings: string[] = [];
    const leave = becomeNobody();
    try {
      const telling = quietContext({
        env: process.env,
        emit: (event) => event.kind === "warning" && warnings.push(event.message),
      });
      const output = join(folder, "as-nobody");
      await packTree({ ...tree, name: "hard" }, { format: "dir", output }, telling);
      expect(lstatSync(join(output, "usr/bin/su")).mode & 0o7777).toBe(0o4755);
      expect(lstatSync(join(output, "usr/lib/closed")).uid).toBe(65_534);
    } finally {
      leave();
    }
    expect(warnings).toEqual([expect.stringContaining("belong to you"), expect.stringContaining("capabilities of 1 ")]);
  });

  const foreign: [string, (place: string) => void][] = [
    ["a folder with other things in it", (place) => writeFileSync(join(place, "precious"), "x")],
    ["a folder with only a usr", (place) => mkdirSync(join(place, "usr"))],
    ["an extension of that name made by others", (place) => mark(place, "hard", "ID=_any\n")],
    ["an extension of ours with another name", (place) => mark(place, "other", "ID=_any\nFLIXWRAP_VERSION=1\n")],
    [
      "an extension of ours with something beside it",
      (place) => {
        mark(place, "hard", "FLIXWRAP_VERSION=1\n");
        mkdirSync(join(place, ".git"));
      },
    ],
  ];
  test.each(foreign)("%s is kept", async (_, fill) => {
    const output = mkdtempSync(join(folder, "foreign-"));
    fill(output);
    const before = listFolder(output);
    await expect(packTree(tree, { format: "dir", output }, context)).rejects.toMatchObject({
      code: "host-output-exists",
    });
    expect(listFolder(output)).toEqual(before);
  });
});

describe("when it cannot be written", () => {
  test.each(Object.keys(packers) as Format[])("%s: a full disk is one line and leaves nothing", async (format) => {
    const place = mkdtempSync(join(folder, "small-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", place]);
    try {
      const error = await packTree(tree, { format, output: join(place, "x") }, context).catch((e: unknown) => e);
      expect(error).toMatchObject({ message: expect.stringMatching(/no space left/) as string });
      expect((error as Error).message).not.toContain("\n");
      expect(readdirSync(place)).toEqual([]);
    } finally {
      execFileSync("umount", [place]);
    }
  });

  test("a folder that is not writable is told before any work", async () => {
    const place = mkdtempSync(join(folder, "closed-"));
    const leave = becomeNobody();
    try {
      await expect(packTree(tree, { format: "squashfs", output: join(place, "x.raw") }, context)).rejects.toMatchObject(
        {
          code: "host-output-folder",
          facts: { got: "permission denied" },
        },
      );
    } finally {
      leave();
    }
  });

  test("a missing packer names its package and leaves nothing", async () => {
    const place = mkdtempSync(join(folder, "bare-"));
    // An interpreter of commands that finds nothing: the fixed sbin folders have no mksquashfs.
    const bare = quietContext({ env: { PATH: place } });
    const packing = packTree(tree, { format: "squashfs", output: join(place, "x.raw") }, bare);
    await expect(packing).rejects.toMatchObject({
      message: /mksquashfs is required to .*; install package squashfs-tools/,
    });
    expect(readdirSync(place)).toEqual([]);
  });

  test("an interruption in the middle leaves nothing", async () => {
    const place = mkdtempSync(join(folder, "stopped-"));
    const controller = new AbortController();
    const stopping = quietContext({ env: process.env, signal: controller.signal });
    // A file whose bytes never end.
    const read = (_: number, length: number) => Buffer.alloc(length);
    const content = { size: 2 ** 40, read, stream: () => new Readable({ read: () => undefined }) };
    const nodes = new Map(tree.nodes);
    nodes.set(extPath("/usr/lib/zz"), { type: "file", mode: 0o644, uid: 0, gid: 0, xattrs: new Map(), content });
    const packing = packTree({ ...tree, nodes }, { format: "squashfs", output: join(place, "x.raw") }, stopping);
    setTimeout(() => controller.abort(), 200);
    await expect(packing).rejects.toMatchObject({ code: "interrupted" });
    expect(readdirSync(place)).toEqual([]);
  });
});

function restoreUmask(old: number): () => void {
  return () => void process.umask(old);
}

function setVariable(name: string, value: string): () => void {
  const old = process.env[name];
  process.env[name] = value;
  return () => {
    if (old === undefined) delete process.env[name];
    else process.env[name] = old;
  };
}

function becomeNobody(): () => void {
  process.setegid!(65_534);
  process.seteuid!(65_534);
  return () => {
    process.seteuid!(0);
    process.setegid!(0);
  };
}

function mark(place: string, name: string, text: string): void {
  mkdirSync(join(place, "usr/lib/extension-release.d"), { recursive: true });
  writeFileSync(join(place, "usr/lib/extension-release.d", `extension-release.${name}`), text);
}
