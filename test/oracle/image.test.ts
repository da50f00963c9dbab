import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { quietContext } from "../../src/core/context.ts";
import { FlixwrapError } from "../../src/core/errors.ts";
import { rootPath } from "../../src/core/paths.ts";
import { openExtension } from "../../src/image/open.ts";
import { readSquashfs } from "../../src/image/squashfs.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { treeRootfs } from "../../src/oci/tree.ts";
import { packTree } from "../../src/pack/pack.ts";
import { listRootfs, shapesWith } from "./image-shapes.ts";
import { type Listing, hardTree, listTree } from "./pack-listing.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "image-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const context = quietContext({ env: process.env });

test.each(["zstd", "xz", "lz4", "gzip"])("our %s squashfs is read as the tree it was made of", async (compression) => {
  const tree = hardTree();
  const output = join(folder, `${compression}.raw`);
  await packTree(tree, { format: "squashfs", output, compression }, context);
  const opened = await openExtension(output, context);
  try {
    expect(opened).toMatchObject({ format: "squashfs", fileName: `${compression}.raw` });
    expect(await listRootfs(opened.rootfs)).toEqual(await listTree(tree));
  } finally {
    opened.close();
  }
});

describe("images of others", () => {
  const options: [string, string[]][] = [
    ["defaults", []],
    ["no fragments", ["-no-fragments", "-b", "4096"]],
    ["always fragments", ["-always-use-fragments", "-b", "1M"]],
    ["nothing compressed", ["-noI", "-noD", "-noF", "-noX"]],
    ["no export table, no sparse files", ["-no-exports", "-no-sparse"]],
    ["lz4 high", ["-comp", "lz4", "-Xhc"]],
    ["xz with filters", ["-comp", "xz", "-Xbcj", "x86"]],
    ["no duplicate checking", ["-no-duplicates", "-comp", "zstd"]],
  ];
  let place: string;
  let wanted: Listing;
  beforeAll(async () => {
    place = mkdtempSync(join(folder, "shapes-"));
    execFileSync("bash", ["-ec", shapesWith(3000)], { cwd: place });
    execFileSync("chmod", ["755", place]);
    wanted = await listRootfs(openFolder(place, context));
    expect(Object.keys(wanted).length).toBeGreaterThan(750);
  });

  test.each(options)("%s", async (name, args) => {
    const image = join(folder, `${name.replace(/\W/g, "-")}.raw`);
    execFileSync("mksquashfs", [place, image, "-noappend", "-quiet", "-no-progress", ...args]);
    const opened = await openExtension(image, context);
    try {
      expect(await listRootfs(opened.rootfs)).toEqual(wanted);
      const identity = (path: string) => opened.rootfs.lookup(rootPath(path))!.identity;
      expect(identity("/usr/one")).toBe(identity("/usr/bin/three"));
      const node = opened.rootfs.lookup(rootPath("/usr/noise"))!;
      const bytes = readFileSync(join(place, "usr/noise"));
      expect(Buffer.from(opened.rootfs.open(node).read(130_000, 4000))).toEqual(bytes.subarray(130_000, 134_000));
      expect(opened.rootfs.open(node).read(699_990, 4000)).toHaveLength(10);
    } finally {
      opened.close();
    }
  });
});

describe("hostile images", () => {
  test("a flipped or cut image is an error or other content, never a crash or a hang", async () => {
    const output = join(folder, "fuzz.raw");
    await packTree(hardTree(), { format: "squashfs", output, compression: "gzip" }, context);
    const good = readFileSync(output);
    const look = (bytes: Uint8Array): void => {
      const rootfs = treeRootfs("x", readSquashfs(memorySource(bytes), "x"));
      for (const node of rootfs.walk(rootPath("/"))) if (node.type === "file") rootfs.open(node).read(0, 1 << 20);
    };
    // The tables stand at the end, the superblock at the front: that is where it hurts.
    const place = fc.oneof(
      fc.integer({ min: 0, max: 95 }),
      fc.integer({ min: good.length - 1500, max: good.length - 1 }),
      fc.nat(good.length - 1),
    );
    const changes = fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 4 });
    let errors = 0;
    fc.assert(
      fc.property(changes, fc.option(fc.nat(good.length)), (flips, cut) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of flips) bytes[at] = value;
        try {
          look(cut === null ? bytes : bytes.subarray(0, cut));
        } catch (error) {
          errors++;
          expect(error).toBeInstanceOf(FlixwrapError);
        }
      }),
      { numRuns: 400 },
    );
    expect(errors).toBeGreaterThan(50);
  });

  const promises = (size: string): string => {
    const place = mkdtempSync(join(folder, "promise-"));
    execFileSync("truncate", ["-s", size, join(place, "file")]);
    return place;
  };
  test.each<[string, (image: string, from: string) => [string, ...string[]]]>([
    ["ext4", (image, from) => ["mke2fs", "-q", "-F", "-t", "ext4", "-d", from, image, "8M"]],
    ["tar", (image, from) => ["tar", "-cSf", image, "-C", from, "."]],
  ])("a %s that promises more than 64 GiB is damaged", async (name, make) => {
    for (const [size, code] of [
      ["63G", undefined],
      ["65G", "pack-damaged-image"],
    ] as const) {
      const image = join(folder, `promise-${size}.${name}`);
      const [tool, ...args] = make(image, promises(size));
      execFileSync(tool, args);
      const opened = await openExtension(image, context).catch((error: FlixwrapError) => error);
      if ("close" in opened) opened.close();
      expect("code" in opened ? opened.code : undefined).toBe(code);
    }
  });

  test("a squashfs whose tables are a bomb is refused before it goes off", () => {
    const zeros = deflateSync(Buffer.alloc(8192), { level: 9 });
    const block = Buffer.concat([Buffer.of(zeros.length, 0), zeros]);
    const blocks = Buffer.concat(Array.from({ length: 500_000 }, () => block));
    const head = Buffer.alloc(96, 0xff);
    head.write("hsqs", 0, "latin1");
    head.writeUInt32LE(1 << 17, 12);
    head.writeUInt32LE(0, 16);
    [1, 17, 0, 1, 4, 0].forEach((value, n) => head.writeUInt16LE(value, 20 + n * 2));
    const end = BigInt(head.length + blocks.length);
    for (const [at, value] of [
      [32, 0n],
      [40, end + 8n],
      [48, end],
      [64, 96n],
      [72, end],
    ] as const)
      head.writeBigUInt64LE(value, at);
    const bomb = Buffer.concat([head, blocks, Buffer.alloc(4096)]);
    expect(bomb.length).toBeLessThan(20 << 20);
    const before = process.memoryUsage().rss;
    expect(() => readSquashfs(memorySource(bomb), "x")).toThrow(/inode table: got more than 32769 blocks/);
    expect(process.memoryUsage().rss - before).toBeLessThan(256 << 20);
  });

  test("what is no image is told in one line", async () => {
    writeFileSync(join(folder, "text.raw"), "hello");
    writeFileSync(join(folder, "empty.raw"), "");
    for (const name of ["text.raw", "empty.raw"])
      await expect(openExtension(join(folder, name), context)).rejects.toMatchObject({ code: "pack-no-image" });
    await expect(openExtension(join(folder, "none.raw"), context)).rejects.toMatchObject({ code: "host-no-image" });
    await expect(openExtension("/dev/null", context)).rejects.toMatchObject({ code: "pack-no-image" });
  });
});
