import { closeSync } from "node:fs";
import { arch } from "node:os";
import type { ByteSource } from "../core/bytes.ts";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import { openCache, usualCacheFolder, type Cache } from "./cache.ts";
import { decompress } from "./decompress.ts";
import { digestMismatch, digestOf, type Digest } from "./digest.ts";
import { boundExpansion } from "./expansion.ts";
import { descriptorSource } from "./file-source.ts";
import { openFolder } from "./folder-rootfs.ts";
import { decodeIndex, encodeIndex, INDEX_VERSION } from "./layer-index.ts";
import { stackLayers } from "./layers.ts";
import { openLayout } from "./layout.ts";
import {
  choosePlatform,
  MAX_CONFIG,
  MAX_MANIFEST,
  noPlatform,
  parseConfig,
  parseManifest,
  type Descriptor,
  type ImageConfig,
  type Manifest,
} from "./manifest.ts";
import { parsePlatform, platformDistance, wordPlatform, type Platform } from "./platform.ts";
import { wordReference, type Reference } from "./reference.ts";
import { openRegistry, type RegistryOptions } from "./registry.ts";
import type { Rootfs } from "./rootfs.ts";
import type { ImageStore } from "./store.ts";
import { readTar, type TarEntry } from "./tar.ts";
import { treeRootfs } from "./tree.ts";

export interface Image {
  /** In full: `docker.io/library/alpine:latest`. */
  readonly reference: string;
  /** Of the manifest for the chosen platform; a folder has none. */
  readonly digest?: Digest;
  /** `linux/arm64/v8`; unknown for a folder. */
  readonly platform?: string;
  readonly config: ImageConfig;
}

export interface OpenedImage {
  readonly image: Image;
  readonly rootfs: Rootfs;
  /** Ends all reading from `rootfs`. */
  close(): void;
}

export interface OpenOptions extends RegistryOptions {
  readonly context: Context;
  /** `$XDG_CACHE_HOME/flixwrap` when undefined. */
  readonly cacheDir?: string;
  /** `linux/arm64/v8`, `aarch64`, …; this machine's when undefined. */
  readonly platform?: string;
}

/** Layers that are fetched at once. */
const PARALLEL = 3;
/** An index may lead to another one, but not for ever. */
const MAX_INDEXES = 4;

/**
 * Opens an image as a read-only root file system. Nothing is unpacked: layers that are not in the cache are
 * fetched into it, then indexed.
 * @throws FlixwrapError, one for each way this can fail; the cache holds only checked, whole files then.
 */
export async function openImage(reference: Reference, options: OpenOptions): Promise<OpenedImage> {
  const { context } = options;
  switch (reference.kind) {
    case "dir":
    case "path":
      return openPath(reference.path, context);
    case "oci":
      return await openStored(reference, options, async () => {
        return openLayout(openFolder(reference.path, context), reference.name, () => undefined);
      });
    case "registry":
      return await openStored(reference, options, async (inner) => await openRegistry(reference, inner, options));
    case "oci-archive":
    case "docker-archive":
    case "tar":
    case "stdin":
    case "docker-daemon":
    case "podman":
    default:
      throw new FlixwrapError("oci-unsupported", {
        what: "this kind of source is not supported yet",
        where: wordReference(reference),
      });
  }
}

const emptyConfig: ImageConfig = {
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: "",
  user: "",
  labels: {},
  diffIds: [],
};

function openPath(path: string, context: Context): OpenedImage {
  return {
    image: { reference: path, config: emptyConfig },
    rootfs: openFolder(path, context),
    close: () => undefined,
  };
}

async function openStored(
  reference: Reference,
  options: OpenOptions,
  openStore: (context: Context) => Promise<ImageStore>,
): Promise<OpenedImage> {
  const { context } = options;
  const cache = openCache(options.cacheDir ?? usualCacheFolder(context.env));
  // One failed layer stops the others.
  const stop = new AbortController();
  const inner = { ...context, signal: AbortSignal.any([context.signal, stop.signal]) };
  const store = await openStore(inner);
  const opened: number[] = [];
  const close = (): void => opened.splice(0).forEach((fd) => closeSync(fd));
  try {
    const { digest, manifest, config, platform } = await resolveImage(store, cache, options);
    const pairs = manifest.layers.map((layer, n) => ({ layer, diffId: config.diffIds[n]!, n }));
    const files: { readonly fd: number; readonly size: number }[] = [];
    await concurrently(pairs, PARALLEL, stop, async ({ layer, diffId, n }) => {
      const file = await cache.openLayer(diffId, () => layerBytes(store, layer, inner), inner);
      opened.push(file.fd);
      files[n] = file;
    });
    const description = `${store.description}@${digest}`;
    const stack = stackLayers();
    for (const { diffId, n } of pairs) {
      const { fd, size } = files[n]!;
      const where = `layer ${diffId}`;
      const archive = descriptorSource(fd, 0, size, where);
      stack.apply(indexLayer(archive, diffId, where, cache), archive, where);
    }
    return {
      image: {
        reference: wordReference(reference),
        digest,
        ...(platform !== undefined && { platform: wordPlatform(platform) }),
        config,
      },
      rootfs: treeRootfs(description, stack.root),
      close,
    };
  } catch (error) {
    close();
    throw context.signal.aborted ? new FlixwrapError("interrupted", { what: "interrupted" }, { cause: error }) : error;
  } finally {
    store.close();
  }
}

/** A layer's entries, from the cache when they were read before. */
function indexLayer(archive: ByteSource, diffId: Digest, where: string, cache: Cache): readonly TarEntry[] {
  const suffix = `index${INDEX_VERSION}`;
  const kept = cache.readBeside(diffId, suffix);
  const known = kept && decodeIndex(kept);
  if (known !== undefined) return known;
  const entries = [...readTar(archive, where)];
  cache.writeBeside(diffId, suffix, encodeIndex(entries));
  return entries;
}

/** From a reference to one platform's manifest and configuration, through the cache. */
async function resolveImage(
  store: ImageStore,
  cache: Cache,
  { platform: asked, context }: OpenOptions,
): Promise<{ digest: Digest; manifest: Manifest; config: ImageConfig; platform?: Platform }> {
  const wanted = parsePlatform(asked ?? arch());
  let { digest, mediaType } = await store.root();
  for (let depth = 0; depth <= MAX_INDEXES; depth++) {
    const where = `${store.description}@${digest}`;
    const bytes = await cachedBlob(cache, digest, MAX_MANIFEST, async () => await store.readManifest(digest));
    const manifest = parseManifest(bytes, mediaType, where);
    if (manifest.kind === "index") {
      ({ digest, mediaType } = choosePlatform(manifest, wanted, store.description));
      continue;
    }
    const config = parseConfig(
      await cachedBlob(cache, manifest.config.digest, MAX_CONFIG, async () => {
        if (manifest.config.size > MAX_CONFIG) throw tooLarge(manifest.config.digest, manifest.config.size);
        return await collect(store.streamBlob(manifest.config));
      }),
      where,
    );
    if (config.diffIds.length !== manifest.layers.length) {
      throw new FlixwrapError("oci-bad-manifest", {
        what: "the manifest and the configuration of the image do not agree",
        where,
        got: `${manifest.layers.length} layers`,
        wanted: `${config.diffIds.length}`,
      });
    }
    checkPlatform(config.platform, wanted, asked !== undefined, store.description, context);
    return { digest, manifest, config, ...(config.platform !== undefined && { platform: config.platform }) };
  }
  throw new FlixwrapError("oci-bad-manifest", { what: "too many indexes inside each other", where: store.description });
}

/** An image without an index is for one platform: another one that was asked for is not had from it. */
function checkPlatform(
  offered: Platform | undefined,
  wanted: Platform,
  isAsked: boolean,
  where: string,
  context: Context,
): void {
  if (offered === undefined || platformDistance(offered, wanted) !== undefined) return;
  if (isAsked) throw noPlatform(where, wanted, [wordPlatform(offered)]);
  context.emit({ kind: "warning", message: `${where} is made for ${wordPlatform(offered)}, not for this machine` });
}

const tooLarge = (what: string, size: number): FlixwrapError =>
  new FlixwrapError("oci-too-large", { what: `${what} is too large`, got: `${size} bytes` });

async function cachedBlob(
  cache: Cache,
  digest: Digest,
  limit: number,
  fetch: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const present = cache.readBlob(digest);
  if (present !== undefined) return present;
  const bytes = await fetch();
  if (bytes.length > limit) throw tooLarge(digest, bytes.length);
  const got = digestOf(bytes, digest);
  if (got !== digest) throw digestMismatch("a manifest or configuration", got, digest);
  cache.writeBlob(digest, bytes);
  return bytes;
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

/** One layer, fetched, counted and uncompressed. */
function layerBytes(store: ImageStore, layer: Descriptor, context: Context): AsyncIterable<Uint8Array> {
  let done = 0;
  const what = `layer ${layer.digest.slice(0, 19)}`;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of store.streamBlob(layer)) {
      done += chunk.length;
      context.emit({ kind: "progress", what, done, total: layer.size });
      yield chunk;
    }
  }
  return boundExpansion(decompress(counted(), what), () => done, what);
}

/** Runs `work` on all items, a few at once; the first failure stops the rest and is the one that is thrown. */
async function concurrently<T>(
  items: readonly T[],
  limit: number,
  stop: AbortController,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      try {
        await work(item);
      } catch (error) {
        failure ??= { error };
        queue.length = 0;
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failure !== undefined) throw failure.error;
}
