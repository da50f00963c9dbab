import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { findArchitecture } from "../../src/core/architectures.ts";
import { quietContext } from "../../src/core/context.ts";
import { listCache, pruneCache, verifyCache } from "../../src/oci/cache/upkeep.ts";
import { openImage } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { openImages } from "../../src/recipes/open-images.ts";
import { describeTree } from "../support/describe-tree.ts";
import { makeImage, startFaultRegistry } from "../support/fault-registry.ts";
import { scratch, sh } from "../support/program.ts";
import { file, tar } from "../support/tar-bytes.ts";

const work = scratch();
const registry = await startFaultRegistry();
const image = makeImage([
  tar(file("a", randomBytes(2 << 20))),
  tar(file("b", randomBytes(300_000)), file("c", "1")),
  tar(file("d", randomBytes(800_000))),
]);
registry.add("x:t", image);
const names = ["f /a", "f /b", "f /c", "f /d"];
const context = quietContext();

let caches = 0;
let cacheDir: string;
beforeEach(() => {
  cacheDir = join(work, `cache-${caches++}`);
  registry.asked.length = 0;
});

async function pull(options: { cacheSize?: number; offline?: boolean } = {}): Promise<string[]> {
  const { rootfs, close } = await openImage(parseReference(`${registry.address}/x:t`), {
    context,
    cacheDir,
    platform: "amd64",
    ...options,
  });
  const lines = describeTree(rootfs);
  close();
  return lines.map((line) => line.slice(0, 4));
}
const asked = (pattern: RegExp): number => registry.asked.filter(({ path }) => pattern.test(path)).length;
const layers = (): string[] =>
  listCache(cacheDir)
    .filter(({ kind }) => kind === "layer")
    .map(({ path }) => path);

describe("a file of the cache that was touched", () => {
  it.each<[string, (path: string) => void]>([
    ["cut", (path) => truncateSync(path, 1000)],
    ["emptied", (path) => truncateSync(path, 0)],
    ["grown", (path) => appendFileSync(path, "x")],
    [
      "changed",
      (path) => {
        const bytes = readFileSync(path);
        bytes[700]! ^= 1;
        writeFileSync(path, bytes);
      },
    ],
    ["removed", (path) => rmSync(path)],
  ])("%s: is fetched again", async (_, damage) => {
    expect(await pull()).toEqual(names);
    expect(asked(/blobs/)).toBe(4);
    const path = layers().sort((a, b) => statSync(a).size - statSync(b).size)[0]!;
    chmodSync(path, 0o600);
    damage(path);
    expect(await pull()).toEqual(names);
    expect(asked(/blobs/)).toBe(5);
    expect(await pull()).toEqual(names);
    expect(asked(/blobs/)).toBe(5);
  });

  it("copied: is hashed, then trusted again", async () => {
    await pull();
    for (const path of layers()) utimesSync(path, new Date(), new Date());
    expect(await pull()).toEqual(names);
    expect(asked(/blobs/)).toBe(4);
    expect((await verifyCache(cacheDir, context)).damaged).toEqual([]);
  });

  it.each(["{", "[]", "null"])("with %s for an index: the layer tells", async (text) => {
    await pull();
    for (const { kind, path } of listCache(cacheDir)) {
      if (kind !== "index") continue;
      chmodSync(path, 0o600);
      writeFileSync(path, text);
    }
    expect(await pull()).toEqual(names);
  });

  it("a manifest", async () => {
    await pull();
    for (const { kind, path } of listCache(cacheDir)) {
      if (kind !== "blob") continue;
      chmodSync(path, 0o600);
      truncateSync(path, 20);
    }
    expect(await pull()).toEqual(names);
  });
});

describe("offline", () => {
  it("an image comes out of the cache, by tag and by digest, and nobody is asked", async () => {
    const reference = `${registry.address}/x:t`;
    await expect(pull({ offline: true })).rejects.toMatchObject({
      code: "oci-offline",
      message: expect.stringMatching(/not in the cache.*without --offline/s),
    });
    expect(registry.asked).toEqual([]);
    await pull();
    registry.asked.length = 0;
    expect(await pull({ offline: true })).toEqual(names);
    const images = openImages({ context, cacheDir, offline: true });
    const opened = await images.open({
      image: reference,
      digest: image.digest,
      architecture: findArchitecture("amd64")!,
      inputs: [],
    });
    expect(describeTree(opened.root)).toHaveLength(names.length);
    opened.close();
    rmSync(layers()[0]!);
    await expect(pull({ offline: true })).rejects.toMatchObject({ code: "oci-offline" });
    expect(registry.asked).toEqual([]);
  });
});

describe("upkeep", () => {
  it("lists what there is, the last used first", async () => {
    expect(listCache(cacheDir)).toEqual([]);
    await pull();
    const kinds = listCache(cacheDir)
      .map(({ kind }) => kind)
      .sort();
    expect(kinds).toEqual(["blob", "blob", "index", "index", "index", "layer", "layer", "layer"]);
    expect(listCache(cacheDir).find(({ kind, bytes }) => kind === "layer" && bytes > 2 << 20)).toBeDefined();
  });

  it("prunes all, or the least recently used until it fits, or the old", async () => {
    await pull();
    const old = new Date(Date.now() - 100 * 24 * 3600 * 1000);
    const largest = listCache(cacheDir).find(({ bytes }) => bytes > 2 << 20);
    for (const { digest, path } of listCache(cacheDir)) {
      if (digest === largest!.digest) utimesSync(path, old, statSync(path).mtime);
    }
    expect(pruneCache(cacheDir, { maxBytes: 100 << 20 })).toEqual([]);
    expect(pruneCache(cacheDir, { maxBytes: 2 << 20 }).map(({ digest }) => digest)).toContain(largest!.digest);
    expect(layers()).toHaveLength(2);
    expect(pruneCache(cacheDir, { before: new Date(Date.now() - 1000 * 3600) })).toEqual([]);
    expect(await pull()).toEqual(names);
    expect(asked(/blobs/)).toBe(5);
    pruneCache(cacheDir);
    expect(listCache(cacheDir)).toEqual([]);
    expect(await pull()).toEqual(names);
  });

  it("keeps the cache within its bound by itself, but nothing that was used just now", async () => {
    await pull({ cacheSize: 1 });
    expect(layers()).toHaveLength(3);
    const old = new Date(Date.now() - 100 * 24 * 3600 * 1000);
    for (const path of layers()) utimesSync(path, old, statSync(path).mtime);
    const [first] = layers();
    rmSync(first!);
    await pull({ cacheSize: 1 });
    expect(layers()).toHaveLength(3);
  });

  it("finds what changed even when nothing shows it, and mends it", async () => {
    await pull();
    const path = layers()[0]!;
    const { mtime } = statSync(path);
    chmodSync(path, 0o600);
    const bytes = readFileSync(path);
    bytes[1000]! ^= 1;
    writeFileSync(path, bytes);
    utimesSync(path, new Date(), mtime);
    const { checked, damaged } = await verifyCache(cacheDir, context);
    expect(checked).toBe(8);
    expect(damaged.map((entry) => entry.path)).toContain(path);
    expect(existsSync(path)).toBe(false);
    expect(await pull()).toEqual(names);
    expect((await verifyCache(cacheDir, context)).damaged).toEqual([]);
  });
});

const library = new URL("../../dist/oci/index.js", import.meta.url).href;
const script = `
  import { openImage, parseReference } from "${library}";
  const { rootfs, close } = await openImage(parseReference(process.argv[1]), {
    cacheDir: process.argv[2], platform: "amd64",
    context: { signal: new AbortController().signal, env: {}, emit: () => undefined },
  });
  console.log([...rootfs.walk("/")].length); close();
`;

/** Another process that pulls the image. */
function start(prefix: readonly string[] = []): {
  child: ChildProcess;
  ended: Promise<{ status: number | null; output: string }>;
} {
  const words = [...prefix, process.execPath, "--input-type=module", "-e", script, `${registry.address}/x:t`, cacheDir];
  const child = spawn(words[0]!, words.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<{ status: number | null; output: string }>((resolve) => {
    child.once("close", (status) => resolve({ status, output }));
  });
  return { child, ended };
}

describe("many processes", () => {
  it.each([2, 8])("%d at once download each blob once", async (count) => {
    const all = await Promise.all(Array.from({ length: count }, () => start().ended));
    expect(all).toEqual(all.map(() => ({ status: 0, output: "5\n" })));
    for (const digest of image.layers) expect(asked(new RegExp(`blobs/${digest}`))).toBe(1);
    for (const name of ["tmp", "locks"]) expect(readdirSync(join(cacheDir, "v1", name))).toEqual([]);
  });

  it("killed at random moments leave nothing that the next one does not mend", { timeout: 120_000 }, async () => {
    // Slow enough that the kills fall into the downloads as well.
    registry.faults = ({ path }) =>
      path.includes("/blobs/") && Math.random() < 0.2 ? { kind: "cut", after: 200_000 } : undefined;
    let killed = 0;
    for (let round = 0; round < 100; round += 2) {
      if (round % 8 === 0) rmSync(cacheDir, { recursive: true, force: true });
      const pair = [start(), start()];
      await new Promise((resolve) => setTimeout(resolve, 60 + Math.random() * 300));
      for (const { child } of pair) killed += child.kill("SIGKILL") ? 1 : 0;
      await Promise.all(pair.map(({ ended }) => ended));
    }
    registry.faults = () => undefined;
    expect(killed).toBeGreaterThan(20);
    expect(await start().ended).toEqual({ status: 0, output: "5\n" });
    for (const name of ["tmp", "locks"]) expect(readdirSync(join(cacheDir, "v1", name))).toEqual([]);
    expect((await verifyCache(cacheDir, context)).damaged).toEqual([]);
  });

  it("on a full disk say so, and leave nothing behind", () => {
    const run = `${process.execPath} --input-type=module -e '${script}' ${registry.address}/x:t ${cacheDir}`;
    // The registry of this process cannot answer while we wait: a layout will do.
    const layout = join(work, "layout-for-full-disk");
    sh(`mkdir -p ${layout}/blobs/sha256; echo '{"imageLayoutVersion":"1.0.0"}' > ${layout}/oci-layout`);
    for (const [digest, bytes] of image.blobs) writeFileSync(`${layout}/blobs/sha256/${digest.slice(7)}`, bytes);
    writeFileSync(
      `${layout}/index.json`,
      JSON.stringify({
        schemaVersion: 2,
        manifests: [
          {
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            digest: image.digest,
            size: image.manifest.length,
          },
        ],
      }),
    );
    const output = sh(
      `unshare -rm bash -c 'mkdir -p ${cacheDir}; mount -t tmpfs -o size=1500k none ${cacheDir}; "$@" 2>&1; echo status $?; ls ${cacheDir}/v1/tmp ${cacheDir}/v1/locks' sh ` +
        run.replace(`${registry.address}/x:t`, `oci:${layout}`),
    );
    expect(output).toMatch(/cannot write to the cache: .*no space left.*flixwrap cache prune/);
    expect(output).toMatch(/status 1\n\S+locks:\n\n\S+tmp:\n$/);
  });
});
