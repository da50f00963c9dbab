import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { quietContext } from "../../src/core/context.ts";
import { FlixwrapError } from "../../src/core/errors.ts";
import { rootPath } from "../../src/core/paths.ts";
import { openExtension } from "../../src/image/open.ts";
import { readErofs } from "../../src/image/erofs.ts";
import { readSquashfs } from "../../src/image/squashfs.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import type { Rootfs } from "../../src/oci/rootfs.ts";
import { treeRootfs } from "../../src/oci/tree.ts";
import { packTree } from "../../src/pack/pack.ts";
import { type Listing, hardTree, listTree } from "./pack-listing.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "image-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const context = quietContext({ env: process.env });

async function listRootfs(rootfs: Rootfs): Promise<Listing> {
  const listing: Listing = {};
  const first = new Map<string, string>();
  for (const node of rootfs.walk(rootPath("/"))) {
    const bytes = node.type === "file" ? await buffer(rootfs.open(node).stream()) : undefined;
    const hash = createHash("sha256")
      .update(bytes ?? "")
      .digest("hex")
      .slice(0, 16);
    const body = node.type === "symlink" ? `-> ${node.target}` : bytes === undefined ? "" : `${bytes.length} ${hash}`;
    const device = node.device === undefined ? [] : [`${node.device.major}:${node.device.minor}`];
    const xattrs = [...node.xattrs]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}=0x${Buffer.from(value).toString("hex")}`);
    const same = node.type === "file" ? (first.get(node.identity) ?? node.path) : node.path;
    first.set(node.identity, same);
    const mode = node.type === "symlink" ? "777" : node.mode.toString(8);
    listing[node.path] = [
      node.type,
      mode,
      `${node.uid}:${node.gid}`,
      body,
      ...device,
      ...xattrs,
      same === node.path ? "" : `= ${same}`,
    ]
      .join(" ")
      .trim();
  }
  return listing;
}

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

/** Shapes that our own packer never makes. */
const shapes = `
mkdir -p usr/bin usr/many usr/deep/$(seq -s/ 1 60)
for i in $(seq 1 700); do echo $i >usr/many/file-with-a-rather-long-name-$i; done
mknod usr/null c 1 3; mknod usr/big b 259 70000; mkfifo usr/pipe
echo linked >usr/one; ln usr/one usr/two; ln usr/one usr/bin/three
ln -s $(printf 'x%.0s' $(seq 1 300)) usr/long-link
setfattr -n user.big -v "$(head -c 3000 /dev/zero | tr '\\0' y)" usr/one
setfattr -n user.big -v "$(head -c 3000 /dev/zero | tr '\\0' y)" usr/bin
setfattr -n user.small -v 0x00ff0a usr/bin
setfattr -n trusted.t -v 1 usr/many
truncate -s 5M usr/hole; printf end >>usr/hole
head -c 2000000 /dev/urandom >usr/noise
chmod 4711 usr/noise; chown 70000:80000 usr/noise
mkdir usr/empty; : >usr/nothing`;

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
    execFileSync("bash", ["-ec", shapes], { cwd: place });
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
      expect(opened.rootfs.open(node).read(1_999_990, 4000)).toHaveLength(10);
    } finally {
      opened.close();
    }
  });
});

describe("erofs of others", () => {
  /** Compressible text in all sizes around blocks and clusters, besides the shapes above. */
  const texts = `${shapes}
mkdir usr/text
for size in 1 100 4095 4096 4097 8191 12288 20000 65535 65536 65537 300000 1500001; do
  seq -f "line %g of $size" 1 200000 | head -c $size >usr/text/t$size || true
  (seq -f "line %g" 1 3000; head -c 9000 /dev/urandom; seq 1 9000) | head -c $size >usr/text/m$size || true
done
cp usr/text/t300000 usr/text/twin`;
  let place: string;
  let wanted: Listing;
  beforeAll(async () => {
    place = mkdtempSync(join(folder, "texts-"));
    execFileSync("bash", ["-c", texts], { cwd: place });
    execFileSync("chmod", ["755", place]);
    wanted = await listRootfs(openFolder(place, context));
  });

  const options: [string, string[]][] = [
    ["plain", []],
    ["without inline data", ["-Enoinline_data"]],
    ["lz4hc", ["-zlz4hc,12"]],
    ["lz4", ["-zlz4"]],
    ["full indexes", ["-zlz4hc", "-Elegacy-compress"]],
    ["big clusters", ["-zlz4hc,12", "-C65536"]],
    ["big clusters, full indexes", ["-zlz4hc", "-C65536", "-Elegacy-compress"]],
    ["tail packing", ["-zlz4hc", "-Eztailpacking"]],
    ["fragments", ["-zlz4hc", "-Efragments"]],
    ["as the reference packs", ["-zlz4hc,12", "-C65536", "-Efragments,ztailpacking"]],
    ["all fragments", ["-zlz4hc", "-C65536", "-Eall-fragments,ztailpacking"]],
    ["deduplicated", ["-zlz4hc", "-C16384", "-Ededupe"]],
    ["long inodes", ["-Eforce-inode-extended"]],
    ["chunks", ["--chunksize=8192"]],
    ["chunk indexes", ["--chunksize=4096", "-Eforce-chunk-indexes"]],
  ];
  test.each(options)("%s", async (name, args) => {
    const image = join(folder, `erofs-${name.replace(/\W/g, "-")}.raw`);
    execFileSync("mkfs.erofs", ["--quiet", ...args, image, place], { stdio: "pipe" });
    const opened = await openExtension(image, context);
    try {
      expect(await listRootfs(opened.rootfs)).toEqual(wanted);
      const node = opened.rootfs.lookup(rootPath("/usr/text/m1500001"))!;
      const bytes = readFileSync(join(place, "usr/text/m1500001"));
      for (const at of [0, 4000, 65_530, 31_000])
        expect(Buffer.from(opened.rootfs.open(node).read(at, 9000))).toEqual(bytes.subarray(at, at + 9000));
    } finally {
      opened.close();
    }
  });

  test("flipped or cut, it is an error or other content, never a crash or a hang", () => {
    const image = join(folder, "erofs-fuzz.raw");
    execFileSync(
      "mkfs.erofs",
      ["--quiet", "-zlz4hc", "-C16384", "-Efragments,ztailpacking", image, join(place, "usr/text")],
      { stdio: "pipe" },
    );
    const good = readFileSync(image);
    const changes = fc.array(
      fc.tuple(fc.oneof(fc.integer({ min: 1024, max: 6000 }), fc.nat(good.length - 1)), fc.nat(255)),
      { minLength: 1, maxLength: 6 },
    );
    let errors = 0;
    fc.assert(
      fc.property(changes, fc.option(fc.nat(good.length)), (flips, cut) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of flips) bytes[at] = value;
        try {
          const rootfs = treeRootfs("x", readErofs(memorySource(cut === null ? bytes : bytes.subarray(0, cut)), "x"));
          for (const node of rootfs.walk(rootPath("/"))) if (node.type === "file") rootfs.open(node).read(0, 1 << 20);
        } catch (error) {
          errors++;
          expect(error).toBeInstanceOf(FlixwrapError);
        }
      }),
      { numRuns: 300 },
    );
    expect(errors).toBeGreaterThan(30);
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

  test("what is no image is told in one line", async () => {
    writeFileSync(join(folder, "text.raw"), "hello");
    writeFileSync(join(folder, "empty.raw"), "");
    for (const name of ["text.raw", "empty.raw"])
      await expect(openExtension(join(folder, name), context)).rejects.toMatchObject({ code: "pack-no-image" });
    await expect(openExtension(join(folder, "none.raw"), context)).rejects.toMatchObject({ code: "host-no-image" });
    await expect(openExtension("/dev/null", context)).rejects.toMatchObject({ code: "pack-no-image" });
  });
});
