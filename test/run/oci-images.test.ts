import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { constants, createGzip, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { quietContext } from "../../src/core/context.ts";
import { openImage } from "../../src/oci/image.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { describeTree } from "../support/describe-tree.ts";
import { makeImage, sha256, type ImageChanges, type MadeImage } from "../support/fault-registry.ts";
import { scratch } from "../support/program.ts";
import { file, symlink, tar } from "../support/tar-bytes.ts";

const work = scratch();
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const x = tar(file("f", "x"));

interface Layout {
  readonly path: string;
  readonly cache: string;
}

function emptyLayout(): Layout {
  const path = mkdtempSync(join(work, "layout-"));
  mkdirSync(join(path, "blobs/sha256"), { recursive: true });
  writeFileSync(join(path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return { path, cache: `${path}-cache` };
}
const blobPath = ({ path }: Layout, digest: string): string => join(path, "blobs/sha256", digest.slice(7));
function addBlobs(layout: Layout, image: MadeImage): void {
  for (const [digest, bytes] of image.blobs) writeFileSync(blobPath(layout, digest), bytes);
}
function addDocument(layout: Layout, document: object): { digest: string; size: number } {
  const bytes = Buffer.from(JSON.stringify(document));
  writeFileSync(blobPath(layout, sha256(bytes)), bytes);
  return { digest: sha256(bytes), size: bytes.length };
}
const writeIndex = ({ path }: Layout, manifests: readonly object[]): void =>
  writeFileSync(join(path, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
const describeImage = (image: MadeImage, more: object = {}): object => ({
  mediaType: MANIFEST,
  digest: image.digest,
  size: image.manifest.length,
  ...more,
});

function layoutOf(image: MadeImage): Layout {
  const layout = emptyLayout();
  addBlobs(layout, image);
  writeIndex(layout, [describeImage(image)]);
  return layout;
}

async function open(
  { path, cache }: Layout,
  options: { name?: string; platform?: string; kind?: string } = {},
): Promise<{ lines: string[]; platform: string | undefined; warnings: string[] }> {
  const warnings: string[] = [];
  const reference = `${options.kind ?? "oci"}:${path}${options.name === undefined ? "" : `:${options.name}`}`;
  const { image, rootfs, close } = await openImage(parseReference(reference), {
    context: quietContext({
      env: { PATH: process.env.PATH },
      emit: (event) => (event.kind === "warning" ? warnings.push(event.message) : undefined),
    }),
    cacheDir: cache,
    ...(options.platform !== undefined && { platform: options.platform }),
  });
  const lines = describeTree(rootfs);
  close();
  return { lines, platform: image.platform, warnings };
}

/** Refused with this code, in one line, and with nothing of a layer in the cache. */
async function refuses(layout: Layout, code: string, options = {}): Promise<void> {
  await expect(open(layout, options)).rejects.toMatchObject({ code });
  const folder = join(layout.cache, "v1");
  const left = (name: string): string[] => {
    try {
      return readdirSync(join(folder, name));
    } catch {
      return [];
    }
  };
  expect([...left("layers/sha256"), ...left("tmp"), ...left("locks")]).toEqual([]);
}

const run =
  (program: string, ...args: string[]) =>
  (input: Buffer): Buffer =>
    execFileSync(program, args, { input });
const zstd = run("zstd", "-qc");
const types = {
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  none: "application/vnd.oci.image.layer.v1.tar",
};
/** zstd's skippable frame: RFC 8878, 3.1.2. */
const skippable = Buffer.from("502a4d1804000000deadbeef", "hex");
const cut = (bytes: Buffer, by: number): Buffer => bytes.subarray(0, bytes.length - by);
const poke = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.length + at]! ^= 0xff;
  return copy;
};
const halves = (layer: Buffer): [Buffer, Buffer] => [layer.subarray(0, 700), layer.subarray(700)];

describe("compression (rows 82-86)", () => {
  it.each<[number, string, (layer: Buffer) => Buffer, string]>([
    [
      82,
      "gzip members one after the other",
      (layer) => Buffer.concat(halves(layer).map((half) => gzipSync(half))),
      types.gzip,
    ],
    [82, "an empty first gzip member", (layer) => Buffer.concat([gzipSync(""), gzipSync(layer)]), types.gzip],
    [83, "zeros behind gzip", (layer) => Buffer.concat([gzipSync(layer), Buffer.alloc(5000)]), types.gzip],
    [85, "a plain tar called gzip", (layer) => layer, types.gzip],
    [85, "gzip called plain", (layer) => gzipSync(layer), types.none],
    [86, "zstd", zstd, types.zstd],
    [
      86,
      "zstd frames, a skippable one first",
      (layer) => Buffer.concat([skippable, ...halves(layer).map(zstd), skippable]),
      types.zstd,
    ],
    [86, "zstd called gzip", zstd, types.gzip],
    [86, "xz", run("xz", "-qc"), types.none],
    [86, "bzip2", run("bzip2", "-qc"), types.none],
    [81, "nothing at all", () => gzipSync(""), types.gzip],
  ])("row %d: %s", async (row, _, compress, layerType) => {
    const layer = row === 81 ? Buffer.alloc(0) : x;
    const { lines } = await open(layoutOf(makeImage([layer], { compress, layerType })));
    expect(lines).toEqual(row === 81 ? [] : ["f /f x"]);
  });

  it.each<[number, string, (layer: Buffer) => Buffer]>([
    [83, "junk behind gzip", (layer) => Buffer.concat([gzipSync(layer), Buffer.from("junk")])],
    [83, "a member behind zeros", (layer) => Buffer.concat([gzipSync(layer), Buffer.alloc(600), gzipSync(layer)])],
    [84, "a wrong CRC", (layer) => poke(gzipSync(layer), -8)],
    [84, "a wrong length", (layer) => poke(gzipSync(layer), -1)],
    [84, "truncated gzip", (layer) => cut(gzipSync(layer), 9)],
    [84, "gzip without its last byte", (layer) => cut(gzipSync(layer), 1)],
    [84, "only a gzip header", (layer) => gzipSync(layer).subarray(0, 10)],
    [86, "truncated zstd", (layer) => cut(zstd(layer), 5)],
    [86, "a wrong zstd checksum", (layer) => poke(run("zstd", "-qc", "--check")(layer), -1)],
    [86, "junk behind zstd", (layer) => Buffer.concat([zstd(layer), Buffer.from("junk")])],
    [86, "truncated xz", (layer) => cut(run("xz", "-qc")(layer), 5)],
  ])("row %d: %s is refused", async (_, __, compress) => {
    await refuses(layoutOf(makeImage([x], { compress })), "oci-bad-compression");
  });

  it("row 88: a bomb is stopped early", async () => {
    // 256 MiB of zeros are 250 KB.
    const gzip = createGzip({ level: constants.Z_BEST_COMPRESSION, memLevel: 9 });
    const zeros = Buffer.alloc(32 << 20);
    const chunks: Buffer[] = [];
    gzip.on("data", (chunk: Buffer) => chunks.push(chunk));
    for (let n = 0; n < 8; n++) gzip.write(zeros);
    await new Promise((resolve) => gzip.end(resolve));
    const image = makeImage([x], { compress: () => Buffer.concat(chunks) });
    await refuses(layoutOf(image), "oci-too-large");
  });
});

describe("digests and sizes (row 87)", () => {
  const damagedBlob = (change: (bytes: Buffer) => Buffer): Layout => {
    const image = makeImage([x]);
    const layout = layoutOf(image);
    writeFileSync(blobPath(layout, image.layers[0]!), change(image.blobs.get(image.layers[0]!)!));
    return layout;
  };
  it("another byte", () =>
    refuses(
      damagedBlob((bytes) => poke(bytes, -20)),
      "oci-bad-compression",
    ));
  it("another byte in what is no content", () =>
    refuses(
      damagedBlob((bytes) => poke(bytes, 9 - bytes.length)),
      "oci-digest-mismatch",
    ));
  it("another size", () =>
    refuses(
      damagedBlob((bytes) => cut(bytes, 1)),
      "oci-size-mismatch",
    ));
  it("another diffID", () => {
    const config = { rootfs: { type: "layers", diff_ids: [sha256("something else")] } };
    return refuses(layoutOf(makeImage([x], { config })), "oci-digest-mismatch");
  });
  it("another number of layers", () => {
    const config = { rootfs: { type: "layers", diff_ids: [] } };
    return refuses(layoutOf(makeImage([x], { config })), "oci-bad-manifest");
  });
  it("sha512 for a layer and its diffID", async () => {
    const layout = emptyLayout();
    const digest = (bytes: Buffer): string =>
      `sha512:${execFileSync("sha512sum", { input: bytes, encoding: "utf8" }).slice(0, 128)}`;
    const blob = gzipSync(x);
    mkdirSync(join(layout.path, "blobs/sha512"));
    writeFileSync(join(layout.path, "blobs/sha512", digest(blob).slice(7)), blob);
    const image = makeImage([x], {
      config: { rootfs: { type: "layers", diff_ids: [digest(x)] } },
      manifest: { layers: [{ mediaType: types.gzip, digest: digest(blob), size: blob.length }] },
    });
    addBlobs(layout, image);
    writeIndex(layout, [describeImage(image)]);
    expect((await open(layout)).lines).toEqual(["f /f x"]);
  });
  it("the same layer twice, and an empty one", async () => {
    const empty = tar();
    const { lines } = await open(layoutOf(makeImage([x, empty, x, empty])));
    expect(lines).toEqual(["f /f x"]);
  });
});

describe("layouts (row 91)", () => {
  it("a blob that is a link", async () => {
    const image = makeImage([x]);
    const layout = layoutOf(image);
    const path = blobPath(layout, image.layers[0]!);
    writeFileSync(`${path}-real`, image.blobs.get(image.layers[0]!)!);
    rmSync(path);
    symlinkSync(`${path}-real`, path);
    await refuses(layout, "oci-bad-layout");
  });
  it.each(["sha256:../../../etc/passwd", "sha256:", "md5:00", `sha256:${"A".repeat(64)}`, "../x"])(
    "the digest %s",
    async (digest) => {
      const layout = emptyLayout();
      writeIndex(layout, [{ mediaType: MANIFEST, digest, size: 1 }]);
      await refuses(layout, "oci-bad-digest");
    },
  );
  it("without oci-layout", async () => {
    const layout = layoutOf(makeImage([x]));
    rmSync(join(layout.path, "oci-layout"));
    await refuses(layout, "oci-bad-layout");
  });
  it("of another version", async () => {
    const layout = layoutOf(makeImage([x]));
    writeFileSync(join(layout.path, "oci-layout"), '{"imageLayoutVersion":"2.0.0"}');
    await refuses(layout, "oci-bad-layout");
  });
  it("with an index of 5 MB", async () => {
    const layout = layoutOf(makeImage([x]));
    writeFileSync(join(layout.path, "index.json"), Buffer.alloc(5 << 20, 0x20));
    await refuses(layout, "oci-bad-layout");
  });
  it.each([
    ["[]"],
    ["{"],
    ["null"],
    ['{"manifests":5}'],
    ['{"manifests":[{}]}'],
    ['{"manifests":[{"digest":5}]}'],
    ['{"manifests":[null]}'],
  ])("with the index %s", async (text) => {
    const layout = emptyLayout();
    writeFileSync(join(layout.path, "index.json"), text);
    await refuses(layout, "oci-bad-manifest");
  });
  it("with several images, of which the name picks one", async () => {
    const layout = emptyLayout();
    const images = ["one", "two"].map((text) => makeImage([tar(file(text, text))]));
    images.forEach((image) => addBlobs(layout, image));
    writeIndex(
      layout,
      images.map((image, n) => describeImage(image, { annotations: { "org.opencontainers.image.ref.name": `v${n}` } })),
    );
    expect((await open(layout, { name: "v1" })).lines).toEqual(["f /two two"]);
    await expect(open(layout)).rejects.toMatchObject({
      code: "oci-not-found",
      message: expect.stringMatching(/several.*\n {2}v0\n {2}v1/s),
    });
    await expect(open(layout, { name: "v2" })).rejects.toMatchObject({ code: "oci-not-found" });
  });
});

describe("documents", () => {
  const changed = (changes: ImageChanges): Layout => layoutOf(makeImage([x], changes));
  it.each<[string, ImageChanges, string]>([
    ["schema 1", { manifest: { schemaVersion: 1, mediaType: undefined, fsLayers: [] } }, "oci-schema1"],
    [
      "an artifact",
      {
        manifest: {
          artifactType: "application/vnd.example.chart",
          config: { mediaType: "application/vnd.oci.empty.v1+json", digest: sha256("{}"), size: 2 },
        },
      },
      "oci-artifact",
    ],
    [
      "a signature",
      {
        manifest: {
          config: { mediaType: "application/vnd.dev.cosign.artifact.sig.v1+json", digest: sha256("{}"), size: 2 },
        },
      },
      "oci-artifact",
    ],
    ["encrypted layers", { layerType: `${types.gzip}+encrypted` }, "oci-encrypted"],
    ["layers of an unknown type", { layerType: "application/octet-stream" }, "oci-bad-manifest"],
    ["another kind of document", { manifest: { mediaType: "text/plain", layers: undefined } }, "oci-bad-manifest"],
    [
      "a negative size",
      { manifest: { layers: [{ mediaType: types.gzip, digest: sha256(""), size: -1 }] } },
      "oci-bad-manifest",
    ],
    [
      "an endless list of layers",
      {
        manifest: {
          layers: Array.from({ length: 2000 }, () => ({ mediaType: types.gzip, digest: sha256(""), size: 1 })),
        },
      },
      "oci-bad-manifest",
    ],
    [
      "a configuration of 1 GB",
      {
        manifest: {
          config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: sha256(""), size: 1 << 30 },
        },
      },
      "oci-too-large",
    ],
  ])("%s is refused", async (_, changes, code) => {
    await refuses(changed(changes), code);
  });

  it("an index that leads to itself ends", async () => {
    const layout = emptyLayout();
    let last = describeImage(makeImage([x]));
    for (let depth = 0; depth < 8; depth++) {
      last = { mediaType: INDEX, ...addDocument(layout, { schemaVersion: 2, mediaType: INDEX, manifests: [last] }) };
    }
    writeIndex(layout, [last]);
    await refuses(layout, "oci-bad-manifest");
  });
});

describe("platforms", () => {
  const offered = (architecture: string, variant?: string): [MadeImage, object] => {
    const image = makeImage([tar(file(`${architecture}${variant ?? ""}`, ""))], {
      architecture,
      ...(variant !== undefined && { variant }),
    });
    return [
      image,
      describeImage(image, { platform: { os: "linux", architecture, ...(variant !== undefined && { variant }) } }),
    ];
  };
  function indexOf(...images: [MadeImage, object][]): Layout {
    const layout = emptyLayout();
    images.forEach(([image]) => addBlobs(layout, image));
    const attestation = describeImage(images[0]![0], {
      digest: sha256("no such blob"),
      platform: { os: "unknown", architecture: "unknown" },
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    });
    const strange = { mediaType: "application/vnd.example.new", digest: sha256("neither"), size: 1 };
    const manifests = [attestation, strange, ...images.map(([, descriptor]) => descriptor)];
    writeIndex(layout, [
      { mediaType: INDEX, ...addDocument(layout, { schemaVersion: 2, mediaType: INDEX, manifests }) },
    ]);
    return layout;
  }
  const all = indexOf(
    offered("386"),
    offered("amd64", "v3"),
    offered("amd64"),
    offered("arm", "v5"),
    offered("arm", "v6"),
    offered("arm64", "v8"),
    offered("s390x"),
  );

  it.each([
    ["amd64", "amd64"],
    ["linux/amd64", "amd64"],
    ["x86_64", "amd64"],
    ["x86-64", "amd64"],
    ["linux/amd64/v2", "amd64"],
    ["linux/amd64/v3", "amd64v3"],
    ["linux/amd64/v4", "amd64v3"],
    ["arm64", "arm64v8"],
    ["aarch64", "arm64v8"],
    ["linux/arm64/v8", "arm64v8"],
    ["linux/arm64/v9", "arm64v8"],
    ["linux/arm/v7", "armv6"],
    ["arm", "armv6"],
    ["armhf", "armv6"],
    ["linux/arm/v6", "armv6"],
    ["armel", "armv6"],
    ["linux/arm/v5", "armv5"],
    ["386", "386"],
    ["s390x", "s390x"],
  ])("%s gets %s", async (platform, name) => {
    expect((await open(all, { platform })).lines).toEqual([`f /${name}`]);
  });

  it.each(["riscv64", "linux/ppc64le"])("%s is not there, and what is there is told", async (platform) => {
    await expect(open(all, { platform })).rejects.toMatchObject({
      code: "oci-no-platform",
      message: expect.stringContaining(
        "got linux/386, linux/amd64/v3, linux/amd64, linux/arm/v5, linux/arm/v6, linux/arm64/v8, linux/s390x",
      ),
    });
  });

  it.each(["amd", "linux", "linux/", "linux/amd64/v1/x", "windows", "", "linux/amd64/"])(
    "%j is no platform",
    async (platform) => {
      await expect(open(all, { platform })).rejects.toMatchObject({ code: "oci-bad-platform" });
    },
  );

  it("never another architecture that the processor could run", async () => {
    await expect(open(indexOf(offered("386")), { platform: "amd64" })).rejects.toMatchObject({
      code: "oci-no-platform",
    });
    await expect(open(indexOf(offered("arm", "v7")), { platform: "arm64" })).rejects.toMatchObject({
      code: "oci-no-platform",
    });
  });

  it("the only one without a platform", async () => {
    const image = makeImage([x]);
    expect((await open(indexOf([image, describeImage(image)]), { platform: "amd64" })).lines).toEqual(["f /f x"]);
  });

  it("platforms in index.json itself, under one name", async () => {
    const layout = emptyLayout();
    const images = [offered("amd64"), offered("arm64", "v8")];
    images.forEach(([image]) => addBlobs(layout, image));
    writeIndex(
      layout,
      images.map(([, descriptor]) => descriptor),
    );
    expect((await open(layout, { platform: "arm64" })).lines).toEqual(["f /arm64v8"]);
  });

  it("an image for one other platform: refused when another was asked for, else taken with a warning", async () => {
    const layout = layoutOf(makeImage([x], { architecture: "s390x" }));
    await expect(open(layout, { platform: "amd64" })).rejects.toMatchObject({ code: "oci-no-platform" });
    const { lines, platform, warnings } = await open(layout);
    expect({ lines, platform }).toEqual({ lines: ["f /f x"], platform: "linux/s390x" });
    expect(warnings).toEqual([expect.stringContaining("made for linux/s390x")]);
  });
});

describe("docker save's archives (row 92)", () => {
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [sha256(x), sha256(x)] },
    }),
  );
  const configName = `${sha256(config).slice(7)}.json`;
  const saved = (manifest: unknown, ...more: Buffer[]): Layout => {
    const path = join(mkdtempSync(join(work, "saved-")), "saved.tar");
    writeFileSync(
      path,
      tar(file("manifest.json", JSON.stringify(manifest)), file(configName, config), file("a/layer.tar", x), ...more),
    );
    return { path, cache: `${path}-cache` };
  };
  const image = (Layers: string[], Config = configName) => [{ Config, RepoTags: ["x:latest"], Layers }];

  it("layers that are links, and repeated", async () => {
    const layout = saved(image(["a/layer.tar", "b/layer.tar"]), symlink("b/layer.tar", "../a/layer.tar"));
    expect((await open(layout, { kind: "docker-archive" })).lines).toEqual(["f /f x"]);
    expect((await open(layout, { kind: "docker-archive", name: "docker.io/library/x" })).lines).toEqual(["f /f x"]);
  });
  it("compressed layers", async () => {
    const layout = saved(image(["a/layer.tar", "z"]), file("z", gzipSync(x)));
    expect((await open(layout, { kind: "docker-archive" })).lines).toEqual(["f /f x"]);
  });
  it.each<[string, unknown, Buffer[], string]>([
    ["a path outside", image(["../../etc/passwd", "a/layer.tar"]), [], "oci-bad-layout"],
    ["a link outside", image(["l", "a/layer.tar"]), [symlink("l", "/etc/passwd")], "oci-bad-layout"],
    ["links in a circle", image(["l", "a/layer.tar"]), [symlink("l", "l")], "oci-link-loop"],
    ["fewer layers than diffIDs", image(["a/layer.tar"]), [], "oci-bad-layout"],
    ["a layer that is not there", image(["b", "a/layer.tar"]), [], "oci-bad-layout"],
    [
      "a layer that is another one",
      image(["b", "a/layer.tar"]),
      [file("b", tar(file("g", "y")))],
      "oci-digest-mismatch",
    ],
    [
      "a configuration that is not what its name says",
      image(["a/layer.tar", "a/layer.tar"], `${"0".repeat(64)}.json`),
      [file(`${"0".repeat(64)}.json`, config)],
      "oci-digest-mismatch",
    ],
    ["no list", {}, [], "oci-bad-layout"],
    ["an image that is none", [null], [], "oci-bad-layout"],
    ["no image", [], [], "oci-not-found"],
  ])("%s is refused", async (_, manifest, more, code) => {
    await expect(open(saved(manifest, ...more), { kind: "docker-archive" })).rejects.toMatchObject({ code });
  });
  it("a name that is not in it is refused", async () => {
    const layout = saved(image(["a/layer.tar", "a/layer.tar"]));
    await expect(open(layout, { kind: "docker-archive", name: "y" })).rejects.toMatchObject({ code: "oci-not-found" });
  });
});
