import { FlixwrapError } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { digestOf, splitDigest } from "./digest.ts";
import { streamChecked } from "./layout.ts";
import { MAX_MANIFEST } from "./manifest.ts";
import type { Rootfs } from "./rootfs.ts";
import type { ImageStore } from "./store.ts";

/** What `skopeo copy … dir:PATH` writes (containers-transports(5)): a manifest, and blobs named by their digests. */
export function openSkopeoFolder(files: Rootfs): ImageStore {
  const where = files.description;
  const readManifest = (): Uint8Array => {
    const node = files.lookup(rootPath("/manifest.json"));
    if (node?.type === "file" && node.size <= MAX_MANIFEST) return files.open(node).read(0, node.size);
    throw new FlixwrapError("oci-bad-layout", { what: "not a folder of skopeo's", where, got: "no manifest.json" });
  };
  return {
    description: where,
    root: async () => ({ digest: digestOf(readManifest()), mediaType: "" }),
    readManifest: async () => readManifest(),
    streamBlob: (descriptor) => streamChecked(files, `/${splitDigest(descriptor.digest)[1]}`, descriptor),
    close: () => undefined,
  };
}
