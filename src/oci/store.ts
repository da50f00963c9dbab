import type { Digest } from "./digest.ts";
import type { Descriptor } from "./manifest.ts";

/** Where manifests and blobs come from: a registry, an image layout, an archive of one. */
export interface ImageStore {
  /** For messages: `docker.io/library/alpine`. */
  readonly description: string;
  /** What the reference itself names; the digest is known before the bytes are fetched. */
  root(): Promise<{ readonly digest: Digest; readonly mediaType: string }>;
  /** A manifest or index; at most `MAX_MANIFEST` bytes, not yet checked against its digest. */
  readManifest(digest: Digest): Promise<Uint8Array>;
  /** A blob's bytes, checked by size and digest at their end, as they are stored (compressed). */
  streamBlob(descriptor: Descriptor): AsyncIterable<Uint8Array>;
  close(): void;
}
