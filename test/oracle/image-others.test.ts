import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memorySource } from "../../src/core/bytes.ts";
import { quietContext } from "../../src/core/context.ts";
import { FlixwrapError } from "../../src/core/errors.ts";
import { rootPath } from "../../src/core/paths.ts";
import { readBtrfs } from "../../src/image/btrfs.ts";
import { readErofs } from "../../src/image/erofs.ts";
import { readExt } from "../../src/image/ext.ts";
import { openExtension } from "../../src/image/open.ts";
import { openFolder } from "../../src/oci/folder-rootfs.ts";
import { treeRootfs } from "../../src/oci/tree.ts";
import { listRootfs, shapesWith } from "./image-shapes.ts";
import type { Listing } from "./pack-listing.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "image-others-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const context = quietContext({ env: process.env });

/** Compressible text in all sizes around blocks and clusters, besides the shapes (mke2fs takes short attributes only). */
const texts = `${shapesWith(200)}
mkdir usr/text
for size in 1 100 4095 4096 4097 8191 12288 20000 65535 65536 65537 300000 500001; do
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

type Maker = (image: string, from: string) => readonly [tool: string, args: readonly string[]];
const erofs =
  (...args: string[]): Maker =>
  (image, from) => ["mkfs.erofs", ["--quiet", ...args, image, from]];
const ext =
  (...args: string[]): Maker =>
  (image, from) => ["mke2fs", ["-q", "-F", ...args, "-d", from, image, "40M"]];
/** Every way in which these tools lay out files; a new way is a new row. */
const makers: readonly [string, Maker][] = [
  ["erofs, plain", erofs()],
  ["erofs, without inline data", erofs("-Enoinline_data")],
  ["erofs, lz4hc", erofs("-zlz4hc,12")],
  ["erofs, lz4", erofs("-zlz4")],
  ["erofs, full indexes", erofs("-zlz4hc", "-Elegacy-compress")],
  ["erofs, big clusters", erofs("-zlz4hc,12", "-C65536")],
  ["erofs, big clusters, full indexes", erofs("-zlz4hc", "-C65536", "-Elegacy-compress")],
  ["erofs, tail packing", erofs("-zlz4hc", "-Eztailpacking")],
  ["erofs, fragments", erofs("-zlz4hc", "-Efragments")],
  ["erofs, as the reference packs", erofs("-zlz4hc,12", "-C65536", "-Efragments,ztailpacking")],
  ["erofs, all fragments", erofs("-zlz4hc", "-C65536", "-Eall-fragments,ztailpacking")],
  ["erofs, deduplicated", erofs("-zlz4hc", "-C16384", "-Ededupe")],
  ["erofs, long inodes", erofs("-Eforce-inode-extended")],
  ["erofs, chunks", erofs("--chunksize=8192")],
  ["erofs, chunk indexes", erofs("--chunksize=4096", "-Eforce-chunk-indexes")],
  ["ext4", ext("-t", "ext4")],
  ["ext4, small blocks", ext("-t", "ext4", "-b", "1024")],
  ["ext4, small inodes", ext("-t", "ext4", "-I", "128", "-O", "^extra_isize")],
  ["ext4, 32 bit, no checksums", ext("-t", "ext4", "-O", "^64bit,^metadata_csum")],
  ["ext3", ext("-t", "ext3")],
  ["ext2", ext("-t", "ext2")],
  ["ext2, small blocks", ext("-t", "ext2", "-b", "1024")],
];

test.each(makers)("%s: the folder it was made of", async (name, make) => {
  const image = join(folder, `${name.replace(/\W+/g, "-")}.raw`);
  const [tool, args] = make(image, place);
  execFileSync(tool, args, { stdio: "pipe" });
  const opened = await openExtension(image, context);
  try {
    expect(await listRootfs(opened.rootfs)).toEqual(wanted);
    const node = opened.rootfs.lookup(rootPath("/usr/text/m500001"))!;
    const bytes = readFileSync(join(place, "usr/text/m500001"));
    for (const at of [0, 4000, 65_530, 31_000])
      expect(Buffer.from(opened.rootfs.open(node).read(at, 9000))).toEqual(bytes.subarray(at, at + 9000));
  } finally {
    opened.close();
    rmSync(image);
  }
});

/**
 * What the kernel says of an image, or puts into it. Mounted in a namespace of its own: tests beside this one that make
 * theirs would take a mount of ours with them, and it would not be over with our umount.
 */
async function mounted<T>(image: string, options: string, work: (place: string) => T): Promise<Awaited<T>> {
  const at = mkdtempSync(join(folder, "mounted-"));
  const script = 'mount -o "loop,$1" "$2" "$3" && echo ready && read -r end; umount "$3"';
  const child = spawn("unshare", ["--mount", "sh", "-c", script, "sh", options, image, at], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  try {
    await Promise.race([once(child.stdout, "data"), closed]);
    return await work(`/proc/${child.pid}/root${at}`);
  } finally {
    child.stdin.end("end\n");
    await closed;
  }
}

async function listImage(image: string): Promise<Listing> {
  const opened = await openExtension(image, context);
  try {
    return await listRootfs(opened.rootfs);
  } finally {
    opened.close();
  }
}

describe("btrfs", () => {
  // mkfs.btrfs of Debian 12 forgets the numbers of devices: the kernel sees what we see.
  test.each([
    ["defaults", []],
    ["as we pack", ["--mixed", "--metadata", "single", "--shrink"]],
    ["large nodes, metadata twice", ["--nodesize", "65536", "--metadata", "dup"]],
    ["holes that are told", ["-O", "^no-holes"]],
  ] as const)("made by mkfs: %s", async (name, args) => {
    const image = join(folder, `btrfs-${name.replace(/\W+/g, "-")}.raw`);
    execFileSync("mkfs.btrfs", ["--quiet", ...args, "--rootdir", place, image], { stdio: "pipe" });
    const listed = await listImage(image);
    expect(listed).toEqual(await mounted(image, "ro", (at) => listRootfs(openFolder(at, context))));
    expect(Object.keys(listed)).toEqual(Object.keys(wanted));
    rmSync(image);
  });

  test.each(["compress=no", "compress-force=zlib", "compress-force=zstd:9", "max_inline=0,autodefrag"])(
    "written by the kernel: %s",
    async (options) => {
      const image = join(folder, "btrfs-kernel.raw");
      execFileSync("truncate", ["-s", "256M", image]);
      execFileSync("mkfs.btrfs", ["--quiet", "--force", image], { stdio: "pipe" });
      await mounted(image, options, (at) => {
        execFileSync("sh", ["-c", 'cp -a "$1/." "$2" && fallocate -l 1M "$2/reserved" && sync', "sh", place, at]);
        // Holes and overwritten parts of extents.
        execFileSync("sh", [
          "-c",
          'dd if=/dev/urandom of="$1" bs=1000 seek=70 count=3 conv=notrunc 2>&1 && fallocate -p -o 100000 -l 50000 "$1"',
          "sh",
          join(at, "usr/text/t300000"),
        ]);
      });
      const listed = await listImage(image);
      expect(listed).toEqual(await mounted(image, "ro", (at) => listRootfs(openFolder(at, context))));
      expect(listed["/usr/big"]).toContain("259:70000");
      expect(Object.keys(listed)).toEqual(["/", "/reserved", ...Object.keys(wanted).slice(1)]);
      rmSync(image);
    },
  );

  test("lzo and a nested subvolume are told, in one line", async () => {
    const image = join(folder, "btrfs-told.raw");
    const make = async (options: string, script: string) => {
      rmSync(image, { force: true });
      execFileSync("truncate", ["-s", "128M", image]);
      execFileSync("mkfs.btrfs", ["--quiet", "--force", image], { stdio: "pipe" });
      await mounted(image, options, (at) => execFileSync("sh", ["-c", script], { cwd: at, stdio: "pipe" }));
    };
    await make("compress-force=lzo", "seq 100000 >lines");
    await expect(listImage(image)).rejects.toMatchObject({ code: "pack-compression" });
    await make("compress=no", "btrfs subvolume create nested");
    await expect(listImage(image)).rejects.toMatchObject({
      code: "pack-damaged-image",
      message: expect.stringContaining("the subvolume nested") as string,
    });
    await make(
      "compress=no",
      "btrfs subvolume create nested && echo x >nested/inside && btrfs subvolume set-default nested",
    );
    expect(Object.keys(await listImage(image))).toEqual(["/", "/inside"]);
  });
});

const fuzzed: readonly [string, Maker, typeof readErofs][] = [
  ["erofs", erofs("-zlz4hc", "-C16384", "-Efragments,ztailpacking"), readErofs],
  [
    "ext4",
    (image, from) => ["mke2fs", ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-N", "64", "-d", from, image, "8M"]],
    readExt,
  ],
  [
    "ext2",
    (image, from) => ["mke2fs", ["-q", "-F", "-t", "ext2", "-b", "1024", "-N", "64", "-d", from, image, "8M"]],
    readExt,
  ],
  [
    "btrfs",
    (image, from) => [
      "mkfs.btrfs",
      ["--quiet", "--mixed", "-n", "4096", "--metadata", "single", "--shrink", "--rootdir", from, image],
    ],
    readBtrfs,
  ],
];

test.each(fuzzed)("%s, flipped or cut: an error or other content, never a crash or a hang", (name, make, read) => {
  const image = join(folder, `fuzz-${name}.raw`);
  const [tool, args] = make(image, join(place, "usr/text"));
  execFileSync(tool, args, { stdio: "pipe" });
  const good = readFileSync(image);
  // Superblock, descriptors and inodes stand at the front.
  const spot = fc.oneof(
    fc.integer({ min: 1024, max: 6000 }),
    fc.integer({ min: 0, max: 65_000 }),
    fc.nat(good.length - 1),
  );
  const changes = fc.array(fc.tuple(spot, fc.nat(255)), { minLength: 1, maxLength: 12 });
  let errors = 0;
  fc.assert(
    fc.property(changes, fc.option(fc.nat(good.length)), (flips, cut) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of flips) bytes[at] = value;
      try {
        const rootfs = treeRootfs("x", read(memorySource(cut === null ? bytes : bytes.subarray(0, cut)), "x"));
        for (const node of rootfs.walk(rootPath("/"))) if (node.type === "file") rootfs.open(node).read(0, 1 << 20);
      } catch (error) {
        errors++;
        expect(error).toBeInstanceOf(FlixwrapError);
      }
    }),
    { numRuns: 150 },
  );
  expect(errors).toBeGreaterThan(10);
});

test("an erofs folder too short for a name is damaged (found by the fuzzer at run 10,824)", () => {
  const image = join(folder, "short.raw");
  execFileSync("mkfs.erofs", ["--quiet", image, join(place, "usr/text")]);
  const bytes = readFileSync(image);
  // struct erofs_super_block: root_nid, blkszbits and meta_blkaddr; a compact inode has its size at 8.
  const root = (bytes.readUInt32LE(1024 + 40) << bytes[1024 + 12]!) + bytes.readUInt16LE(1024 + 14) * 32;
  for (const size of [1, 9, 4097]) {
    bytes.writeUInt32LE(size, root + 8);
    expect(() => readErofs(memorySource(bytes), "x")).toThrow(expect.objectContaining({ code: "pack-damaged-image" }));
  }
});
