import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { memorySource, type ByteSource } from "../../src/core/bytes.ts";
import { FlixwrapError } from "../../src/core/errors.ts";
import { rootPath } from "../../src/core/paths.ts";
import { readBtrfs } from "../../src/image/btrfs.ts";
import { readErofs } from "../../src/image/erofs.ts";
import { readExt } from "../../src/image/ext.ts";
import { readSquashfs } from "../../src/image/squashfs.ts";
import { treeRootfs, type FolderInode } from "../../src/oci/tree.ts";
import { inTime } from "../support/in-time.ts";
import { generator, type Random } from "../support/random.ts";

/**
 * Images that the file systems' own tools made, damaged: the readers give a typed error or a tree that can be walked
 * and read, quickly. A short run belongs to the tests; `scripts/endure` has the long one. The seed decides everything.
 */
const runs = Number(process.env["FLIXWRAP_IMAGE_FUZZ_RUNS"] ?? 200);
const seed = Number(process.env["FLIXWRAP_FUZZ_SEED"] ?? 1);
/** Of the processor's milliseconds. */
const slowest = 3000;
const largest = 1 << 30;

const folder = mkdtempSync(join(tmpdir(), "flixwrap-image-fuzz-"));
const source = join(folder, "source");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Everything that the formats tell apart, and hardly any content: what is damaged shall be structure. */
const content = `
mkdir -p usr/bin usr/many usr/a/b/c/d
for i in $(seq 1 40); do echo $i >usr/many/file-with-a-rather-long-name-$i; done
mknod usr/null c 1 3; mkfifo usr/pipe
echo linked >usr/one; ln usr/one usr/bin/two; ln -s one usr/link; ln -s $(printf 'x%.0s' $(seq 1 120)) usr/long-link
setfattr -n user.big -v $(head -c 150 /dev/zero | tr '\\0' y) usr/one
setfattr -n user.small -v 0x00ff0a usr/bin
setfattr -n trusted.t -v 1 usr/many
seq 1 9000 >usr/text; head -c 9000 /dev/urandom >usr/noise; truncate -s 300K usr/hole; echo end >>usr/hole; : >usr/nothing`;

beforeAll(() => {
  mkdirSync(source);
  execFileSync("bash", ["-ec", content], { cwd: source });
});

type Read = (source: ByteSource, name: string) => FolderInode;
type Maker = readonly [name: string, read: Read, make: (image: string) => readonly [string, ...string[]]];

const squashfs = (name: string, ...args: string[]): Maker => [
  `squashfs, ${name}`,
  readSquashfs,
  (image) => ["mksquashfs", source, image, "-noappend", "-quiet", "-no-progress", ...args],
];
const erofs = (name: string, ...args: string[]): Maker => [
  `erofs, ${name}`,
  readErofs,
  (image) => ["mkfs.erofs", "--quiet", ...args, image, source],
];
const ext = (name: string, ...args: string[]): Maker => [
  `ext, ${name}`,
  readExt,
  (image) => ["mke2fs", "-q", "-F", "-b", "1024", "-N", "128", ...args, "-d", source, image, "1200K"],
];

const makers: readonly Maker[] = [
  squashfs("nothing compressed", "-noI", "-noD", "-noF", "-noX", "-b", "4096"),
  squashfs("gzip", "-b", "4096", "-comp", "gzip"),
  squashfs("lz4, always fragments", "-b", "4096", "-comp", "lz4", "-always-use-fragments"),
  erofs("plain"),
  erofs("chunks", "--chunksize=4096"),
  erofs("lz4", "-zlz4hc"),
  erofs("big clusters and fragments", "-zlz4hc", "-C65536", "-Efragments"),
  erofs("full indexes", "-zlz4", "-Elegacy-compress"),
  ext("ext4", "-t", "ext4", "-O", "^has_journal"),
  ext("ext2", "-t", "ext2"),
  [
    "btrfs",
    readBtrfs,
    (image) => ["mkfs.btrfs", "--quiet", "--mixed", "--metadata", "single", "--shrink", "--rootdir", source, image],
  ],
];

/** Numbers at the bounds of their fields. */
const evil = ["00", "ff", "0000", "ffff", "0080", "ff7f", "00000000", "ffffffff", "00000080", "ffffff7f", "01000000"]
  .concat(["0000000000000000", "ffffffffffffffff", "ffffffffffff1f00", "0000000000000080"])
  .map((hex) => Buffer.from(hex, "hex"));

/** Damages `bytes` at some of `places`, and gives back what undoes it. */
function damage(bytes: Buffer, places: readonly number[], random: Random): () => void {
  const undo: (() => void)[] = [];
  for (let times = 1 + random(4); times > 0; times--) {
    const at = places[random(places.length)]! + random(16);
    const from = places[random(places.length)]!;
    const changed = [
      Buffer.of(bytes[at]! ^ (1 << random(8))),
      Buffer.of(random(256)),
      evil[random(evil.length)]!,
      Buffer.from(bytes.subarray(from, from + [2, 4, 8, 16, 64, 256][random(6)]!)),
    ][random(4)]!;
    const old = Buffer.from(bytes.subarray(at, at + changed.length));
    changed.copy(bytes, at);
    undo.push(() => void old.copy(bytes, at));
  }
  return () => undo.reverse().forEach((one) => one());
}

/** Whether the image was refused. */
function exercise(read: Read, bytes: Uint8Array): boolean {
  let refused = false;
  const trying = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof FlixwrapError)) throw error;
      refused = true;
    }
  };
  trying(() => {
    const root = treeRootfs("image", read(memorySource(bytes), "image"));
    for (const node of root.walk(rootPath("/"))) {
      if (`${node.path}/`.includes("/../")) throw new Error(`the name ${node.path}`);
      if (node.type !== "file") continue;
      trying(() => root.open(node).read(0, 1 << 16));
      trying(() => root.open(node).read(Math.max(0, node.size - 100), 100));
    }
  });
  return refused;
}

it.each(makers)(`%s: ${runs} damaged images, seed ${seed}`, { timeout: 7_200_000 }, (name, read, make) => {
  const image = join(folder, name.replace(/\W+/g, "-"));
  const [tool, ...args] = make(image);
  execFileSync(tool, args);
  const bytes = readFileSync(image);
  expect(exercise(read, bytes)).toBe(false);
  // Where there is anything.
  const places = Array.from({ length: bytes.length >> 4 }, (_, n) => n << 4).filter((at) =>
    bytes.subarray(at, at + 16).some((byte) => byte !== 0),
  );
  const random = generator(seed);
  let refusals = 0;
  let most = 0;
  for (let run = 0; run < runs; run++) {
    const undo = damage(bytes, places, random);
    const cut = random(50) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
    try {
      const taken = inTime(slowest, () => {
        refusals += exercise(read, cut) ? 1 : 0;
      });
      most = Math.max(most, taken);
    } catch (error) {
      const kept = join(tmpdir(), `flixwrap-image-fuzz-${seed}-${run}.raw`);
      writeFileSync(kept, cut);
      throw new Error(`${name}, run ${run}, kept as ${kept}: ${String(error)}`, { cause: error });
    }
    undo();
  }
  const { rss } = process.memoryUsage();
  if (runs > 10_000) console.log(`${name}: ${refusals} refused, the slowest ${most.toFixed(0)} ms, ${rss >> 20} MiB`);
  expect(refusals).toBeGreaterThan(runs / 20);
  expect(rss).toBeLessThan(largest);
});
