import type { Context } from "../../core/context.ts";
import { FlixwrapError } from "../../core/errors.ts";
import { digestOf, parseDigest, type Digest } from "../digest.ts";
import { MAX_MANIFEST, mediaTypes } from "../manifest.ts";
import { discard, readBody } from "../network/http.ts";
import { wordReference, type RegistryReference } from "../reference.ts";
import type { ImageStore } from "../store.ts";
import { streamBlob } from "./blob.ts";
import { openConnection, type RegistryOptions } from "./connection.ts";
import { findSources } from "./registries-conf.ts";

const ACCEPT = [...mediaTypes.indexes, ...mediaTypes.manifests].join(", ");

/**
 * Reads one repository of a registry (distribution-spec 1.1, "Pull"): from the first mirror that has the image, or
 * else from the registry itself.
 * @throws FlixwrapError `oci-blocked`, `oci-bad-registries-conf`, `oci-bad-credentials`; the rest comes with the
 *   store's methods.
 */
export async function openRegistry(
  reference: RegistryReference,
  context: Context,
  options: RegistryOptions = {},
): Promise<ImageStore> {
  const sources = await findSources(reference, context);
  for (const [n, { reference: place, insecure }] of sources.entries()) {
    const settings = insecure ? { ...options, tlsVerify: false } : options;
    const store = await openRepository(place, context, settings);
    const description = `${reference.registry}/${reference.repository}`;
    if (n === sources.length - 1) return { ...store, description };
    try {
      const root = await store.root();
      return { ...store, description, root: async () => root };
    } catch (error) {
      store.close();
      if (context.signal.aborted) throw error;
      const message = `the mirror ${place.registry} is passed over: ${(error as Error).message.split("\n")[0]}`;
      context.emit({ kind: "notice", message });
    }
  }
  throw new FlixwrapError("oci-not-found", {
    what: "no place to read the image from",
    where: wordReference(reference),
  });
}

/** At one place: the registry itself or a mirror. */
async function openRepository(
  reference: RegistryReference,
  context: Context,
  options: RegistryOptions,
): Promise<ImageStore> {
  const connection = await openConnection(reference, context, options);
  const headManifest = (tag: string) =>
    connection.patiently(async () => {
      const answer = await connection.request("HEAD", connection.urlOf("manifests", tag), { accept: ACCEPT });
      discard(answer);
      return answer.headers;
    });
  const getManifest = (name: string) =>
    connection.patiently(async () => {
      const answer = await connection.request("GET", connection.urlOf("manifests", name), { accept: ACCEPT });
      return { bytes: await readBody(answer, MAX_MANIFEST), mediaType: answer.headers["content-type"] ?? "" };
    });
  // Of a tag for which the HEAD request told no digest, so that the manifest is not fetched twice.
  let fetched: { digest: Digest; bytes: Buffer } | undefined;

  return {
    description: `${reference.registry}/${reference.repository}`,
    async root() {
      if (reference.digest !== undefined) return { digest: reference.digest, mediaType: "" };
      // HEAD does not count against the limits of docker.io, and a warm cache needs no more.
      const tag = reference.tag ?? "latest";
      const head = await headManifest(tag);
      const stated = head["docker-content-digest"];
      if (typeof stated === "string") return { digest: parseDigest(stated), mediaType: head["content-type"] ?? "" };
      const { bytes, mediaType } = await getManifest(tag);
      fetched = { digest: digestOf(bytes), bytes };
      return { digest: fetched.digest, mediaType };
    },
    async readManifest(digest) {
      return fetched?.digest === digest ? fetched.bytes : (await getManifest(digest)).bytes;
    },
    streamBlob: (descriptor) => streamBlob(connection, descriptor),
    close: () => connection.close(),
  };
}
