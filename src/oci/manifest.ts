import { defined } from "../core/defined.ts";
import { FlixwrapError } from "../core/errors.ts";
import { parseDigest, type Digest } from "./digest.ts";
import { platformDistance, wordPlatform, type Platform } from "./platform.ts";

/** A reference to a blob: image-spec, descriptor.md. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes, as stored (compressed). */
  readonly size: number;
  /** Where a foreign layer may be had instead. */
  readonly urls: readonly string[];
  readonly platform?: Platform;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An image for one platform: configuration and layers, lowest first. */
export interface Manifest {
  readonly kind: "manifest";
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** An image for several platforms, a manifest for each. */
export interface Index {
  readonly kind: "index";
  readonly manifests: readonly Descriptor[];
}

/** What this program wants to know of an image's configuration (image-spec, config.md). */
export interface ImageConfig {
  readonly platform?: Platform;
  /** `NAME=VALUE`. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Digests of the uncompressed layers, lowest first. */
  readonly diffIds: readonly Digest[];
}

/** OCI's types and docker's for the same things. */
export const mediaTypes = {
  indexes: [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
  ] as readonly string[],
  manifests: [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
  ] as readonly string[],
  configs: [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
  ] as readonly string[],
};

/** Registries refuse larger ones, and so do we: bytes. */
export const MAX_MANIFEST = 4 << 20;
/** Bytes of a configuration. */
export const MAX_CONFIG = 8 << 20;
/** Layers of one image. */
export const MAX_LAYERS = 1024;

const layerType =
  /^application\/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1\.tar(\+(gzip|zstd))?|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.(gzip|zstd))?)$/;

/**
 * Reads a manifest or an index; `mediaType` is what the server or descriptor said and yields to the
 * document's own.
 * @throws FlixwrapError `oci-bad-manifest`, `oci-schema1`, `oci-artifact`, `oci-encrypted`.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string, where: string): Manifest | Index {
  const document = parseObject(bytes, where);
  const declared = typeof document.mediaType === "string" ? document.mediaType : mediaType;
  if (document.schemaVersion === 1) throw schema1(where);
  if (mediaTypes.indexes.includes(declared) || (Array.isArray(document.manifests) && !document.layers)) {
    return { kind: "index", manifests: list(document.manifests, where).map((item) => descriptor(item, where)) };
  }
  if (!mediaTypes.manifests.includes(declared) && !Array.isArray(document.layers)) {
    throw bad(where, `the media type ${declared || "''"}`);
  }
  const config = descriptor(document.config, where);
  if (!mediaTypes.configs.includes(config.mediaType)) {
    const type = typeof document.artifactType === "string" ? document.artifactType : config.mediaType;
    throw new FlixwrapError("oci-artifact", {
      what: "this is an artifact, not an image with a root file system",
      where,
      got: type,
    });
  }
  const layers = list(document.layers, where).map((item) => descriptor(item, where));
  if (layers.length > MAX_LAYERS) throw bad(where, `${layers.length} layers`);
  for (const { mediaType: type } of layers) {
    if (type.endsWith("+encrypted")) {
      throw new FlixwrapError("oci-encrypted", { what: "the image's layers are encrypted", where, got: type });
    }
    if (!layerType.test(type)) throw bad(where, `a layer of type ${type || "''"}`);
  }
  return { kind: "manifest", config, layers };
}

/** @throws FlixwrapError `oci-bad-config`. */
export function parseConfig(bytes: Uint8Array, where: string): ImageConfig {
  const document = parseObject(bytes, where);
  const config = isObject(document.config) ? document.config : {};
  const rootfs = isObject(document.rootfs) ? document.rootfs : {};
  const platform = parsePlatformObject(document);
  return {
    ...defined({ platform }),
    env: strings(config.Env),
    entrypoint: strings(config.Entrypoint),
    cmd: strings(config.Cmd),
    workingDir: typeof config.WorkingDir === "string" ? config.WorkingDir : "",
    user: typeof config.User === "string" ? config.User : "",
    labels: stringMap(config.Labels),
    diffIds: strings(rootfs.diff_ids).map(parseDigest),
  };
}

/**
 * The manifest of an index that serves a platform best: the exact variant, else the nearest lower one, the first
 * of equals. Attestations are passed over, and so are entries without a platform while there is a better one.
 * @throws FlixwrapError `oci-no-platform`, listing what there is.
 */
export function choosePlatform(index: Index, wanted: Platform, where: string): Descriptor {
  const images = index.manifests.filter(
    ({ mediaType, platform, annotations }) =>
      (mediaTypes.manifests.includes(mediaType) || mediaTypes.indexes.includes(mediaType)) &&
      platform?.architecture !== "unknown" &&
      annotations["vnd.docker.reference.type"] === undefined,
  );
  const ranked = images
    .map((entry) => ({ entry, distance: entry.platform && platformDistance(entry.platform, wanted) }))
    .filter(({ distance }) => distance !== undefined)
    .sort((a, b) => a.distance! - b.distance!);
  const undeclared = images.filter(({ platform }) => platform === undefined);
  const chosen = ranked[0]?.entry ?? (undeclared.length === 1 ? undeclared[0] : undefined);
  if (chosen !== undefined) return chosen;
  throw noPlatform(
    where,
    wanted,
    images.map(({ platform }) => (platform === undefined ? "one without a platform" : wordPlatform(platform))),
  );
}

/** The error for an image that offers other platforms alone. */
export const noPlatform = (where: string, wanted: Platform, offered: readonly string[]): FlixwrapError =>
  new FlixwrapError("oci-no-platform", {
    what: "the image does not exist for this platform",
    where,
    got: [...new Set(offered)].join(", ") || "an empty index",
    wanted: wordPlatform(wanted),
    hint: "choose one with --platform, of a recipe with --arch",
  });

const schema1 = (where: string): FlixwrapError =>
  new FlixwrapError("oci-schema1", {
    what: "the image has the obsolete manifest schema 1",
    where,
    hint: "push it again with a Docker of version 1.10 or later",
  });

const bad = (where: string, got: string): FlixwrapError =>
  new FlixwrapError("oci-bad-manifest", { what: "not the manifest of an image", where, got });

/** A JSON value in a message. `String()` throws for an object that has a `toString` of its own, `JSON.stringify` for a deep one. */
export const wordJson = (value: unknown): string =>
  typeof value === "object" && value !== null ? (Array.isArray(value) ? "a list" : "an object") : String(value);

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** @throws FlixwrapError `oci-bad-manifest` when the bytes are no JSON object. */
export function parseObject(bytes: Uint8Array, where: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FlixwrapError("oci-bad-manifest", { what: "not JSON", where }, { cause });
  }
  if (!isObject(value)) throw bad(where, "JSON that is no object");
  return value;
}

function list(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw bad(where, "a document without its list of parts");
  return value;
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];

const stringMap = (value: unknown): Record<string, string> =>
  isObject(value)
    ? Object.fromEntries(Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === "string"))
    : {};

function descriptor(value: unknown, where: string): Descriptor {
  if (!isObject(value) || typeof value.digest !== "string") throw bad(where, "a part without a digest");
  const size = value.size;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw bad(where, `the size ${wordJson(size)}`);
  const platform = isObject(value.platform) ? parsePlatformObject(value.platform) : undefined;
  return {
    mediaType: typeof value.mediaType === "string" ? value.mediaType : "",
    digest: parseDigest(value.digest),
    size,
    urls: strings(value.urls),
    ...defined({ platform }),
    annotations: stringMap(value.annotations),
  };
}

function parsePlatformObject({ os, architecture, variant }: Json): Platform | undefined {
  if (typeof os !== "string" || typeof architecture !== "string" || architecture === "") return undefined;
  return { os, architecture, ...(typeof variant === "string" && variant !== "" && { variant }) };
}
