import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { memorySource } from "../../../src/core/bytes.ts";
import { FlixwrapError } from "../../../src/core/errors.ts";
import { rootPath } from "../../../src/core/paths.ts";
import { decompress } from "../../../src/oci/decompress.ts";
import { decodeIndex, encodeIndex } from "../../../src/oci/layer-index.ts";
import { stackLayers } from "../../../src/oci/layers.ts";
import { readTar } from "../../../src/oci/tar/tar.ts";
import { writeTar } from "../../../src/oci/tar/writer.ts";
import { treeRootfs } from "../../../src/oci/tree.ts";
import type { Rootfs } from "../../../src/oci/rootfs.ts";
import { describeTree } from "../../support/describe-tree.ts";
import { layerCorpus } from "../../support/layer-corpus.ts";
import { inTime } from "../../support/in-time.ts";
import { generator, type Random } from "../../support/random.ts";
import { file, folder, gnuLong, hardlink, marker, pax, symlink, tar } from "../../support/tar-bytes.ts";

/**
 * Damaged layers give a typed error or a root, quickly, and a root that was read can be written and read again. A
 * short run belongs to the tests; `scripts/endure` has the long one. The seed decides everything.
 */
const runs = Number(process.env["FLIXWRAP_FUZZ_RUNS"] ?? 8000);
const seed = Number(process.env["FLIXWRAP_FUZZ_SEED"] ?? 1);
/** Of the processor's milliseconds, whoever else works on the machine. A thousand folders inside each other take most. */
const slowest = 2000;
const largest = 512 << 20;
const block = 512;

const base = tar(folder("usr/lib/"), file("usr/lib/a", "lower"), symlink("lib", "usr/lib"), hardlink("h", "usr/lib/a"));

function seeds(): Buffer[] {
  const corpus = layerCorpus("/victim").flatMap(({ layers }) => layers);
  const usual = tar(
    folder("./"),
    pax({
      path: `lib/${"long/".repeat(30)}name`,
      mtime: "1234567890.123456789",
      "SCHILY.xattr.user.k": Buffer.of(0, 255, 10),
    }),
    file("short", "content"),
    marker("usr/lib/.wh.a"),
    gnuLong("L", `lib/${"l".repeat(120)}`),
    file("x", "y".repeat(700)),
    hardlink("again", "lib/a"),
    marker("usr/.wh..wh..opq"),
  );
  return [...corpus.filter((layer) => layer.length > 0 && layer.length < 32 << 10), usual, usual, usual];
}

/** Values that have been trouble in headers: octal and base-256, at their bounds, and names that lead elsewhere. */
const evil = [
  ..."77777777777|00000000000| |-1|7777777|../x|/|.|..|.wh.|.wh..wh..opq|.wh.a|lib|usr/lib/a|h"
    .split("|")
    .map((text) => Buffer.from(text)),
  ...[
    "80000000000000007fffffff",
    "ffffffffffffffffffffffff",
    "8000000000000000ffffffff",
    "80000000ffffffff",
    "00",
    "ff",
    "c3a9",
    "0a",
  ].map((hex) => Buffer.from(hex, "hex")),
  Buffer.from("30 path=../../x\n12 size=99999\n"),
  Buffer.from("99999999999 path=x\n"),
];
const fields = [0, 100, 108, 116, 124, 136, 148, 156, 157, 257, 263, 329, 337, 345, 386, 482, 483];
const types = Buffer.from("01234567xgLKSVZ\0");

function mutate(layer: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let bytes = Buffer.from(layer);
  for (let times = 1 + random(3); times > 0 && bytes.length >= block; times--) {
    const at = random(bytes.length / block) * block;
    switch (random(7)) {
      case 0:
        bytes[random(bytes.length)]! ^= 1 << random(8);
        break;
      case 1:
        bytes = bytes.subarray(0, random(bytes.length));
        break;
      case 2: {
        const other = others[random(others.length)]!;
        const from = random(other.length / block) * block;
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          other.subarray(from, from + block * (1 + random(4))),
          bytes.subarray(at),
        ]);
        break;
      }
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + block)]);
        break;
      case 4:
        bytes[at + 156] = types[random(types.length)]!;
        break;
      default:
        evil[random(evil.length)]!.copy(bytes, at + fields[random(fields.length)]!);
    }
    if (random(8) > 0) mendChecksum(bytes, at);
  }
  return bytes;
}

/** Otherwise a wrong sum would be all that is ever found. */
function mendChecksum(bytes: Buffer, at: number): void {
  if (at + block > bytes.length) return;
  const header = bytes.subarray(at, at + block);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0`, 148, "latin1");
}

const limits = { entries: 5000, bytes: 1 << 20, meta: 1 << 20, steps: 1 << 20 };

/** Whether the layer was refused. */
function exercise(layer: Buffer): boolean {
  try {
    const archive = memorySource(layer);
    const entries = [...readTar(archive, "layer")];
    expect(decodeIndex(encodeIndex(entries))).toEqual(entries);
    const stack = stackLayers(limits);
    stack.apply(readTar(memorySource(base), "base"), memorySource(base), "base");
    stack.apply(entries, archive, "layer");
    const root = treeRootfs("root", stack.root);
    const lines = describeTree(root);
    for (const node of root.walk(rootPath("/"))) {
      if (`${node.path}/`.includes("/../") || /\/\.wh\./.test(node.path)) throw new Error(`the name ${node.path}`);
    }
    expect(describeTree(reread(root))).toEqual(lines);
    return false;
  } catch (error) {
    if (error instanceof FlixwrapError && error.code.startsWith("oci-")) return true;
    throw error;
  }
}

function reread(root: Rootfs): Rootfs {
  const written = memorySource(Buffer.concat([...writeTar(root, root.walk(rootPath("/")))]));
  const stack = stackLayers();
  stack.applyFiles(readTar(written, "written"), written, "written");
  return treeRootfs("written", stack.root);
}

it(`${runs} damaged layers, seed ${seed}`, () => {
  const random = generator(seed);
  const sources = seeds();
  let refusals = 0;
  let most = 0;
  for (let run = 0; run < runs; run++) {
    const damaged = mutate(sources[random(sources.length)]!, sources, random);
    try {
      const taken = inTime(slowest, () => {
        refusals += exercise(damaged) ? 1 : 0;
      });
      most = Math.max(most, taken);
    } catch (error) {
      const kept = join(tmpdir(), `flixwrap-fuzz-${seed}-${run}.tar`);
      writeFileSync(kept, damaged);
      throw new Error(`run ${run}, kept as ${kept}: ${String(error)}`, { cause: error });
    }
  }
  const { rss } = process.memoryUsage();
  if (runs > 100_000)
    console.log(`${runs} layers: ${refusals} refused, the slowest ${most.toFixed(0)} ms, ${rss >> 20} MiB`);
  expect(refusals).toBeGreaterThan(runs / 10);
  expect(refusals).toBeLessThan(runs * 0.9);
  expect(rss).toBeLessThan(largest);
}, 7_200_000);

it(`${runs / 20} damaged gzip streams, seed ${seed}`, async () => {
  const random = generator(seed);
  const whole = gzipSync(Buffer.concat(seeds().slice(0, 20)));
  const twice = Buffer.concat([whole, gzipSync(base)]);
  let refusals = 0;
  for (let run = 0; run < runs / 20; run++) {
    const damaged = Buffer.from(random(2) === 0 ? whole : twice);
    for (let times = 1 + random(3); times > 0; times--) damaged[random(damaged.length)] = random(256);
    const cut = random(4) === 0 ? damaged.subarray(0, random(damaged.length)) : damaged;
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = 0; at < cut.length; at += 4096) yield cut.subarray(at, at + 4096);
    }
    try {
      for await (const chunk of decompress(pieces(), "layer")) expect(chunk.length).toBeGreaterThan(0);
    } catch (error) {
      expect(error).toMatchObject({ code: "oci-bad-compression" });
      refusals += 1;
    }
  }
  expect(refusals).toBeGreaterThan(runs / 40);
}, 7_200_000);
