import { arch } from "node:os";
import type { Context } from "../core/context.ts";
import { FlixwrapError } from "../core/errors.ts";
import type { Cache } from "./cache/cache.ts";
import { digestMismatch, digestOf, type Digest } from "./digest.ts";
import {
  choosePlatform,
  MAX_CONFIG,
  MAX_MANIFEST,
  noPlatform,
  parseConfig,
  parseManifest,
  type ImageConfig,
} from "./manifest.ts";
import { parsePlatform, platformDistance, wordPlatform, type Platform } from "./platform.ts";
import type { ImageStore } from "./store.ts";

/** An image for one platform: what it says of itself, and its layers, lowest first. */
export interface ImageContents {
  /** Of the manifest; of the configuration where an archive has no manifest. */
  readonly digest: Digest;
  readonly config: ImageConfig;
  readonly layers: readonly LayerSource[];
}

/** One layer before it is fetched. */
export interface LayerSource {
  readonly diffId: Digest;
  /** For progress and messages. */
  readonly name: string;
  /** Bytes, as stored; 0 where that is not known. */
  readonly size: number;
  /** The layer as it is stored, maybe compressed; checked at its end where the source has a digest for that. */
  readonly stream: () => AsyncIterable<Uint8Array>;
}

/** An index may lead to another one, but not for ever. */
const MAX_INDEXES = 4;

/**
 * From what a store's reference names to one platform's image; manifest and configuration come through the cache.
 * @throws FlixwrapError `oci-no-platform`, `oci-bad-manifest`, `oci-digest-mismatch` and those of the store.
 */
export async function resolveImage(
  store: ImageStore,
  cache: Cache,
  { platform: asked, context }: { readonly platform?: string; readonly context: Context },
): Promise<ImageContents> {
  const wanted = machinePlatform(asked);
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
    return {
      digest,
      config,
      layers: manifest.layers.map((layer, n) => ({
        diffId: config.diffIds[n]!,
        name: `layer ${layer.digest.slice(0, 19)}`,
        size: layer.size,
        stream: () => store.streamBlob(layer),
      })),
    };
  }
  throw new FlixwrapError("oci-bad-manifest", { what: "too many indexes inside each other", where: store.description });
}

/** Node's names where they are nobody else's. */
const nodeArchitectures: Readonly<Record<string, string>> = { ia32: "386", ppc64: "ppc64le", mips64el: "mips64le" };

/** The platform that was asked for, else this machine's. */
export const machinePlatform = (asked: string | undefined): Platform =>
  parsePlatform(asked ?? nodeArchitectures[arch()] ?? arch());

/** An image without an index is for one platform: another one that was asked for is not had from it. */
export function checkPlatform(
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
