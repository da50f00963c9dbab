import { closeSync } from "node:fs";
import type { ByteSource } from "../core/bytes.ts";
import type { Context } from "../core/context.ts";
import type { Cache } from "./cache/cache.ts";
import { decompress } from "./decompress.ts";
import type { Digest } from "./digest.ts";
import { boundExpansion } from "./expansion.ts";
import { descriptorSource } from "./file-source.ts";
import { decodeIndex, encodeIndex, INDEX_VERSION } from "./layer-index.ts";
import { stackLayers, tallied } from "./layers.ts";
import { openTally } from "./limits.ts";
import type { ImageContents, LayerSource } from "./resolve.ts";
import type { Rootfs } from "./rootfs.ts";
import { readTar, type TarEntry } from "./tar/tar.ts";
import { treeRootfs } from "./tree.ts";

/** Layers that are fetched at once. */
const PARALLEL = 3;

/**
 * An image's layers as one root file system: those that are not in the cache are fetched into it, a few at once,
 * then all are indexed and put upon each other. `fetched`: how many were not there.
 * @throws what the first failing layer throws, `oci-bad-tar`, `oci-unsafe-layer`, `oci-too-large`.
 */
export async function assembleRootfs(
  { layers }: ImageContents,
  cache: Cache,
  description: string,
  context: Context,
  stop: AbortController,
): Promise<{ readonly rootfs: Rootfs; readonly fetched: number; close(): void }> {
  let fetched = 0;
  const files: { readonly fd: number; readonly size: number }[] = [];
  const close = (): void => files.splice(0).forEach(({ fd }) => closeSync(fd));
  try {
    await concurrently([...layers.entries()], PARALLEL, stop, async ([n, layer]) => {
      const produce = (): AsyncIterable<Uint8Array> => {
        fetched += 1;
        return uncompressed(layer, context);
      };
      files[n] = await cache.openLayer(layer.diffId, produce, context, layer.size);
    });
    const stack = stackLayers();
    for (const [n, { diffId }] of layers.entries()) {
      const { fd, size } = files[n]!;
      const where = `layer ${diffId}`;
      const archive = descriptorSource(fd, 0, size, where);
      stack.apply(indexLayer(archive, diffId, where, cache), archive, where);
    }
    return { rootfs: treeRootfs(description, stack.root), fetched, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A layer's entries, from the cache when they were read before. */
function indexLayer(archive: ByteSource, diffId: Digest, where: string, cache: Cache): readonly TarEntry[] {
  const suffix = `index${INDEX_VERSION}`;
  const kept = cache.readBeside(diffId, suffix);
  const known = kept && decodeIndex(kept);
  if (known !== undefined) return known;
  // Counted before they are put into the tree: headers alone can fill the memory.
  const entries = [...tallied(readTar(archive, where), openTally(), where)];
  cache.writeBeside(diffId, suffix, encodeIndex(entries));
  return entries;
}

/** One layer, counted, uncompressed, bounded. */
function uncompressed({ name, size, stream }: LayerSource, context: Context): AsyncIterable<Uint8Array> {
  let done = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of stream()) {
      done += chunk.length;
      context.emit({ kind: "progress", what: name, done, ...(size > 0 && { total: size }) });
      yield chunk;
    }
  }
  return boundExpansion(decompress(counted(), name), () => done, name);
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
