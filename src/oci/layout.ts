import type { Readable } from "node:stream";
import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { checkDigest, parseDigest, splitDigest, type Digest } from "./digest.ts";
import { MAX_MANIFEST, mediaTypes, parseManifest, parseObject, type Descriptor } from "./manifest.ts";
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
export function openLayout(files: Rootfs, name: string | undefined, close: () => void): ImageStore {
  const where = files.description;
  const readSmall = (path: string): Uint8Array => {
    const node = files.lookup(rootPath(path));
    if (node?.type !== "file") throw badLayout(where, `it has no file ${path}`);
    if (node.size > MAX_MANIFEST) throw badLayout(where, `${path} has ${node.size} bytes`);
    return files.open(node).read(0, node.size);
  };
  const blobPath = (digest: Digest): string => `/blobs/${splitDigest(digest).join("/")}`;

  return {
    description: where,
    async root() {
      const { imageLayoutVersion } = parseObject(readSmall("/oci-layout"), `${where}/oci-layout`);
      if (imageLayoutVersion !== "1.0.0") throw badLayout(where, `version ${String(imageLayoutVersion)}`);
      const index = parseManifest(readSmall("/index.json"), mediaTypes.indexes[0]!, `${where}/index.json`);
      if (index.kind !== "index") throw badLayout(where, "index.json is no index");
      return chooseNamed(index.manifests, name, where);
    },
    readManifest: async (digest) => readSmall(blobPath(digest)),
    async *streamBlob({ digest, size }) {
      const node = files.lookup(rootPath(blobPath(digest)));
      if (node?.type !== "file") throw badLayout(where, `it has no blob ${digest}`);
      if (node.size !== size) {
        throw new FlixwrapError("oci-size-mismatch", {
          what: `wrong size of ${digest}`,
          where,
          got: `${node.size} bytes`,
          wanted: `${size}`,
        });
      }
      const check = checkDigest(parseDigest(digest), `${digest} in ${where}`);
      for await (const chunk of files.open(node).stream() as Readable & AsyncIterable<Uint8Array>) {
        check.update(chunk);
        yield chunk;
      }
      check.finish();
    },
    close,
  };
}

/** One image needs no name; of several, the name picks. */
function chooseNamed(images: readonly Descriptor[], name: string | undefined, where: string): Descriptor {
  const namesOf = ({ annotations }: Descriptor): string[] =>
    [annotations[REF_NAME], annotations[FULL_NAME]].filter((one) => one !== undefined);
  const matching =
    name === undefined ? images : images.filter((image) => namesOf(image).some((one) => isNamed(one, name)));
  const distinct = new Map(matching.map((image) => [image.digest, image]));
  if (distinct.size === 1) return matching[0]!;
  throw new FlixwrapError("oci-not-found", {
    what: distinct.size === 0 ? "no such image" : "there are several images here",
    where: name === undefined ? where : `${where}:${name}`,
    hint: "choose one by appending :NAME",
    items: images.map((image) => namesOf(image)[0] ?? image.digest),
  });
}

/** A full name, or its tag alone. */
const isNamed = (full: string, wanted: string): boolean => full === wanted || full.endsWith(`:${wanted}`);

const badLayout = (where: string, got: string): FlixwrapError =>
  new FlixwrapError("oci-bad-layout", { what: "not an OCI image layout", where, got });
