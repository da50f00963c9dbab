import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { checkDigest, digestOf, splitDigest, type Digest } from "./digest.ts";
import { MAX_MANIFEST, mediaTypes, parseManifest, parseObject, wordJson, type Descriptor } from "./manifest.ts";
import { wordPlatform } from "./platform.ts";
import type { Rootfs } from "./rootfs.ts";
import type { ImageStore } from "./store.ts";

/** The annotation that carries an image's name (image-spec, annotations.md). */
const REF_NAME = "org.opencontainers.image.ref.name";
/** containerd and docker save add the full name beside a short one. */
const FULL_NAME = "io.containerd.image.name";

/**
 * An OCI image layout (image-spec, image-layout.md): a folder or an archive of one, as read-only files. Blobs are
 * regular files; links to somewhere else are not followed.
 * @throws FlixwrapError `oci-bad-layout`, `oci-not-found`.
 */
export function openLayout(files: Rootfs, name: string | undefined): ImageStore {
  const where = files.description;
  const readSmall = (path: string): Uint8Array => {
    const node = files.lookup(rootPath(path));
    if (node?.type !== "file") throw badLayout(where, `it has no file ${path}`);
    if (node.size > MAX_MANIFEST) throw badLayout(where, `${path} has ${node.size} bytes`);
    return files.open(node).read(0, node.size);
  };
  const blobPath = (digest: Digest): string => `/blobs/${splitDigest(digest).join("/")}`;

  let chosen: Buffer | undefined;

  return {
    description: where,
    async root() {
      if (files.lookup(rootPath("/oci-layout")) === undefined) {
        const isSaved = files.lookup(rootPath("/manifest.json")) !== undefined;
        const kind = isSaved ? "it looks like docker save's: docker-archive:" : "a root file system is dir: or tar:";
        throw badLayout(where, "it has no file oci-layout", kind);
      }
      const { imageLayoutVersion } = parseObject(readSmall("/oci-layout"), `${where}/oci-layout`);
      if (imageLayoutVersion !== "1.0.0") throw badLayout(where, `version ${wordJson(imageLayoutVersion)}`);
      const index = parseManifest(readSmall("/index.json"), mediaTypes.indexes[0]!, `${where}/index.json`);
      if (index.kind !== "index") throw badLayout(where, "index.json is no index");
      const images = chooseNamed(index.manifests, name, where);
      if (images.length === 1) return images[0]!;
      // One name for several platforms: an index of these takes the name's place.
      chosen = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.indexes[0], manifests: images }));
      return { digest: digestOf(chosen), mediaType: mediaTypes.indexes[0]! };
    },
    readManifest: async (digest) =>
      chosen !== undefined && digestOf(chosen) === digest ? chosen : readSmall(blobPath(digest)),
    streamBlob: (descriptor) => streamChecked(files, blobPath(descriptor.digest), descriptor),
    close: () => undefined,
  };
}

/**
 * A blob that is a file, checked by size and digest at its end.
 * @throws FlixwrapError `oci-bad-layout`, `oci-size-mismatch`, `oci-digest-mismatch`.
 */
export async function* streamChecked(
  files: Rootfs,
  path: string,
  { digest, size }: Descriptor,
): AsyncGenerator<Uint8Array> {
  const node = files.lookup(rootPath(path));
  if (node?.type !== "file") throw badLayout(files.description, `it has no blob ${digest}`);
  if (node.size !== size) {
    throw new FlixwrapError("oci-size-mismatch", {
      what: `wrong size of ${digest}`,
      where: files.description,
      got: `${node.size} bytes`,
      wanted: `${size}`,
    });
  }
  const check = checkDigest(digest, `${digest} in ${files.description}`);
  for await (const chunk of files.open(node).stream()) {
    check.update(chunk as Uint8Array);
    yield chunk as Uint8Array;
  }
  check.finish();
}

/** One image needs no name; of several, the name picks. What remains differs by platform only. */
function chooseNamed(images: readonly Descriptor[], name: string | undefined, where: string): readonly Descriptor[] {
  const matching = images.filter((image) => name === undefined || namesOf(image).some((one) => isNamed(one, name)));
  const distinct = [...new Map(matching.map((image) => [image.digest, image])).values()];
  const platforms = new Set(distinct.map(({ platform }) => platform && wordPlatform(platform)));
  if (
    distinct.length === 1 ||
    (distinct.length > 1 && !platforms.has(undefined) && platforms.size === distinct.length)
  ) {
    return distinct;
  }
  throw new FlixwrapError("oci-not-found", {
    what: distinct.length === 0 ? "no such image" : "there are several images here",
    where: name === undefined ? where : `${where}:${name}`,
    hint: "choose one by appending :NAME",
    items: images.map((image) => namesOf(image)[0] ?? image.digest),
  });
}

const namesOf = ({ annotations }: Descriptor): string[] =>
  [annotations[REF_NAME], annotations[FULL_NAME]].filter((one) => one !== undefined);

/** A full name, or its tag alone. */
const isNamed = (full: string, wanted: string): boolean => full === wanted || full.endsWith(`:${wanted}`);

const badLayout = (where: string, got: string, hint?: string): FlixwrapError =>
  new FlixwrapError("oci-bad-layout", { what: "not an OCI image layout", where, got, ...(hint && { hint }) });
