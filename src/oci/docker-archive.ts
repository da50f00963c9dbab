import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { digestMismatch, digestOf } from "./digest.ts";
import { MAX_CONFIG, MAX_LAYERS, MAX_MANIFEST, parseConfig, wordJson } from "./manifest.ts";
import { parseReference, wordReference } from "./reference.ts";
import type { ImageContents } from "./resolve.ts";
import type { RootNode, Rootfs } from "./rootfs.ts";

/** One image of `manifest.json`. */
interface Saved {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/**
 * What `docker save` writes, old and new: `manifest.json` names a configuration and layers, which may be links
 * to each other and compressed. Layers are known by their diffID only.
 * @throws FlixwrapError `oci-bad-layout`, `oci-not-found`, `oci-digest-mismatch`.
 */
export function readDockerArchive(files: Rootfs, name: string | undefined): ImageContents {
  const where = files.description;
  const find = (path: unknown, limit: number): RootNode => {
    // A path of the archive is resolved inside it, whatever it says.
    const node = typeof path === "string" ? files.resolve(rootPath(path)) : undefined;
    if (node?.type !== "file") throw bad(where, `it has no file ${wordJson(path)}`);
    if (node.size > limit) throw bad(where, `${wordJson(path)} has ${node.size} bytes`);
    return node;
  };
  const readAll = (node: RootNode): Uint8Array => files.open(node).read(0, node.size);

  if (files.resolve(rootPath("manifest.json")) === undefined) {
    const hint = "an OCI layout is oci-archive:, a root file system tar:";
    throw new FlixwrapError("oci-bad-layout", { ...bad(where, "it has no file manifest.json").facts, hint });
  }
  const image = chooseImage(parseSaved(readAll(find("manifest.json", MAX_MANIFEST)), where), name, where);
  const bytes = readAll(find(image.Config, MAX_CONFIG));
  const digest = digestOf(bytes);
  const stated = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(image.Config)?.[1];
  if (stated !== undefined && digest !== `sha256:${stated}`) {
    throw digestMismatch(`the configuration in ${where}`, digest, `sha256:${stated}`);
  }
  const config = parseConfig(bytes, where);
  if (image.Layers.length > MAX_LAYERS) throw bad(where, `${image.Layers.length} layers`);
  if (config.diffIds.length !== image.Layers.length) {
    throw bad(where, `${image.Layers.length} layers where the configuration has ${config.diffIds.length}`);
  }
  const layers = image.Layers.map((path, n) => {
    const node = find(path, Number.MAX_SAFE_INTEGER);
    const diffId = config.diffIds[n]!;
    return { diffId, name: `layer ${diffId.slice(0, 19)}`, size: node.size, stream: () => files.open(node).stream() };
  });
  return { digest, config, layers };
}

function parseSaved(bytes: Uint8Array, where: string): Saved[] {
  let images: unknown;
  try {
    images = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    throw bad(where, "a manifest.json that is no JSON");
  }
  if (!Array.isArray(images)) throw bad(where, "a manifest.json that is no list");
  return images.map((image: Partial<Saved> | null) => {
    if (typeof image?.Config !== "string" || !Array.isArray(image.Layers)) throw bad(where, "an image without layers");
    const tags = Array.isArray(image.RepoTags) ? image.RepoTags.filter((tag) => typeof tag === "string") : [];
    return { Config: image.Config, RepoTags: tags, Layers: image.Layers };
  });
}

function chooseImage(images: readonly Saved[], name: string | undefined, where: string): Saved {
  const matching =
    name === undefined ? images : images.filter(({ RepoTags }) => RepoTags.some((tag) => isNamed(tag, name)));
  if (matching.length === 1) return matching[0]!;
  throw new FlixwrapError("oci-not-found", {
    what: matching.length === 0 ? "no such image" : "there are several images here",
    where: name === undefined ? where : `${where}:${name}`,
    hint: "choose one by appending :NAME",
    items: images.map(({ RepoTags, Config }) => RepoTags.join(", ") || Config),
  });
}

/** `alpine` and `docker.io/library/alpine:latest` name the same. */
function isNamed(tag: string, wanted: string): boolean {
  const full = (name: string): string => {
    try {
      return wordReference(parseReference(`docker://${name}`));
    } catch {
      return name;
    }
  };
  return full(tag) === full(wanted);
}

const bad = (where: string, got: string): FlixwrapError =>
  new FlixwrapError("oci-bad-layout", { what: "not an archive of docker save", where, got });
