import { createHash } from "node:crypto";
import { FlixwrapError } from "../core/errors.ts";
import type { Cache } from "./cache/cache.ts";
import { wordReference, type RegistryReference } from "./reference.ts";
import type { ImageStore } from "./store.ts";

/** The same store, with what its tag means now kept for the time without a network. */
export const rememberTag = (store: ImageStore, reference: RegistryReference, cache: () => Cache): ImageStore => ({
  ...store,
  async root() {
    const root = await store.root();
    if (reference.digest === undefined) cache().writeResult(keyOf(reference), root.digest);
    return root;
  },
});

/** A registry's image out of the cache alone; a tag means what it meant last. Nothing is asked, not even for a name. */
export function openOffline(reference: RegistryReference, cache: Cache): ImageStore {
  const missing = (what: string): FlixwrapError =>
    new FlixwrapError("oci-offline", {
      what: `${what} is not in the cache`,
      where: wordReference(reference),
      hint: "run once without --offline",
    });
  return {
    description: `${reference.registry}/${reference.repository}`,
    async root() {
      const digest = reference.digest ?? cache.readResult(keyOf(reference));
      if (digest === undefined) throw missing("the image");
      return { digest, mediaType: "" };
    },
    async readManifest(digest) {
      throw missing(`the manifest ${digest}`);
    },
    // oxlint-disable-next-line require-yield
    async *streamBlob({ digest }) {
      throw missing(`the part ${digest}`);
    },
    close: () => undefined,
  };
}

const keyOf = (reference: RegistryReference): string =>
  createHash("sha256")
    .update(`tag ${wordReference(reference)}`)
    .digest("hex");
