import { statSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../core/context.ts";
import { defined } from "../core/defined.ts";
import { FlixwrapError, interrupted } from "../core/errors.ts";
import { rootPath } from "../core/paths.ts";
import { openArchive, openArchiveStream, type OpenedArchive } from "./archive.ts";
import { assembleRootfs } from "./assemble.ts";
import { openCache, type Cache } from "./cache/cache.ts";
import { usualCacheFolder } from "./cache/folder.ts";
import { pruneCache } from "./cache/upkeep.ts";
import type { Engine } from "./daemon/endpoint.ts";
import type { Digest } from "./digest.ts";
import { readDockerArchive } from "./docker-archive.ts";
import { openFolder } from "./folder-rootfs.ts";
import { openLayout } from "./layout.ts";
import type { ImageConfig } from "./manifest.ts";
import { openOffline, rememberTag } from "./offline.ts";
import { wordPlatform } from "./platform.ts";
import { wordReference, type Reference } from "./reference.ts";
import type { RunOptions } from "./run.ts";
import type { RegistryOptions } from "./registry/connection.ts";
import { openRegistry } from "./registry/registry.ts";
import { checkPlatform, machinePlatform, resolveImage, type ImageContents } from "./resolve.ts";
import type { Rootfs } from "./rootfs.ts";
import { openSkopeoFolder } from "./skopeo-folder.ts";
import type { ImageStore } from "./store.ts";

/** What an image is, apart from its files. */
export interface Image {
  /** In full: `docker.io/library/alpine:latest`. */
  readonly reference: string;
  /** The same by its digest, where the source can be asked so: `docker.io/library/alpine@sha256:…`. */
  readonly pinned?: string;
  /** Of the manifest for the chosen platform, or of the configuration (docker save); a plain root has none. */
  readonly digest?: Digest;
  /** `linux/arm64/v8`; unknown for a plain root. */
  readonly platform?: string;
  readonly config: ImageConfig;
}

/** An image with its root, until it is closed. */
export interface OpenedImage {
  readonly image: Image;
  readonly rootfs: Rootfs;
  /** Ends all reading from `rootfs`. */
  close(): void;
}

/** How {@link openImage} fetches an image, and what is run in it. */
export interface OpenOptions extends RegistryOptions {
  readonly context: Context;
  /** `$XDG_CACHE_HOME/flixwrap` when undefined. */
  readonly cacheDir?: string;
  /** Bytes the cache may grow to; 20 GiB when undefined. The least recently used gives way. */
  readonly cacheSize?: number;
  /** `linux/arm64/v8`, `aarch64`, …; this machine's when undefined. */
  readonly platform?: string;
  /** Commands that run in a copy of the root before it is handed out: docs of `runInRoot`. */
  readonly run?: readonly string[];
  readonly runNetwork?: "host" | "none";
  /** Let a daemon run the commands, instead of namespaces of our own. */
  readonly engine?: Engine;
  /** Keep what the commands made, and do not run them again for the same image. */
  readonly runCache?: boolean;
  /** Take a registry's image out of the cache, or not at all. */
  readonly offline?: boolean;
}

/** What a source turned out to be. */
type Found =
  | { readonly kind: "store"; readonly store: ImageStore }
  | { readonly kind: "contents"; readonly contents: ImageContents; readonly description: string }
  | { readonly kind: "root"; readonly rootfs: Rootfs };

/** One opening: the cache is made when it is needed, and everything that is open is closed at the end. */
interface Opening {
  readonly options: OpenOptions;
  readonly context: Context;
  readonly cache: () => Cache;
  /** Called when the image is closed. */
  readonly onClose: (close: () => void) => void;
}

/**
 * Opens an image as a read-only root file system. Nothing is unpacked: layers that are not in the cache are
 * fetched into it, then indexed.
 * @throws FlixwrapError, one for each way this can fail; the cache holds only checked, whole files then.
 */
export async function openImage(reference: Reference, options: OpenOptions): Promise<OpenedImage> {
  const { context } = options;
  const closing: (() => void)[] = [];
  const close = (): void => closing.splice(0).forEach((one) => one());
  let cache: Cache | undefined;
  // One failed layer stops the others.
  const stop = new AbortController();
  const opening: Opening = {
    options,
    context: { ...context, signal: AbortSignal.any([context.signal, stop.signal]) },
    cache: () => (cache ??= openCache(options.cacheDir ?? usualCacheFolder(context.env))),
    onClose: (one) => void closing.push(one),
  };
  try {
    const found = await findImage(reference, opening);
    const unchanged = await openFound(found, reference, opening, stop);
    return { ...(await afterCommands(unchanged, opening)), close };
  } catch (error) {
    close();
    throw context.signal.aborted ? interrupted(error) : error;
  }
}

/** Milliseconds: what was used so lately is never pruned to make room; somebody may be about to open it. */
const RECENT = 60 * 60 * 1000;
const CACHE_SIZE = 20 * 2 ** 30;

type Opened = Pick<OpenedImage, "image" | "rootfs">;

async function openFound(found: Found, asked: Reference, opening: Opening, stop: AbortController): Promise<Opened> {
  const reference = wordReference(asked);
  if (found.kind === "root") return { image: { reference, config: emptyConfig }, rootfs: found.rootfs };
  const contents =
    found.kind === "contents" ? found.contents : await resolveImage(found.store, opening.cache(), opening.options);
  const place = found.kind === "contents" ? found.description : found.store.description;
  const description = `${place}@${contents.digest}`;
  const assembled = await assembleRootfs(contents, opening.cache(), description, opening.context, stop);
  opening.onClose(() => assembled.close());
  if (assembled.fetched > 0) {
    const { folder } = opening.cache();
    pruneCache(folder, { maxBytes: opening.options.cacheSize ?? CACHE_SIZE, before: new Date(Date.now() - RECENT) });
  }
  if (found.kind === "store") found.store.close();
  const { digest, config } = contents;
  const platform = config.platform && wordPlatform(config.platform);
  const pinned = asked.kind === "registry" ? description : undefined;
  const image = { reference, digest, ...defined({ pinned, platform }), config };
  return { image, rootfs: assembled.rootfs };
}

/** With commands run, it is no longer the image that its digest names. */
async function afterCommands({ image, rootfs }: Opened, opening: Opening): Promise<Opened> {
  const { run: commands = [], runNetwork: network = "host", runCache, engine } = opening.options;
  if (commands.length === 0) return { image, rootfs };
  const { runInRoot, runOnce } = await import("./run.ts");
  const options: RunOptions = {
    commands,
    network,
    config: image.config,
    cache: opening.cache(),
    context: opening.context,
    ...defined({ engine }),
  };
  const { digest, ...rest } = image;
  const isKept = runCache === true && digest !== undefined;
  const changed = isKept ? await runOnce(rootfs, digest, options) : await runInRoot(rootfs, options);
  opening.onClose(() => changed.close());
  return { image: rest, rootfs: changed.rootfs };
}

/** Of what has no configuration: folders, tar files. */
export const emptyConfig: ImageConfig = {
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: "",
  user: "",
  labels: {},
  diffIds: [],
};

async function findImage(reference: Reference, opening: Opening): Promise<Found> {
  const { context, options } = opening;
  switch (reference.kind) {
    case "registry":
      if (options.offline) return stored(openOffline(reference, opening.cache()), opening);
      return stored(rememberTag(await openRegistry(reference, context, options), reference, opening.cache), opening);
    case "oci":
      return stored(openLayout(openFolder(reference.path, context), reference.name), opening);
    case "dir":
      return inFolder(reference.path, opening, ["version"]);
    case "path":
      return await atPath(reference.path, opening);
    case "oci-archive":
      return stored(openLayout(await archiveAt(reference.path, opening), reference.name), opening);
    case "docker-archive":
      return saved(await archiveAt(reference.path, opening), reference.name, opening);
    case "tar":
      return { kind: "root", rootfs: await archiveAt(reference.path, opening) };
    case "stdin": {
      if (context.stdin === undefined) {
        throw new FlixwrapError("usage", { what: "the reference - needs an archive on standard input" });
      }
      return inArchive(
        keep(await openArchiveStream(context.stdin(), "standard input", opening.cache()), opening),
        opening,
      );
    }
    case "docker-daemon":
    case "podman": {
      const { openDaemonImage } = await import("./daemon/daemon.ts");
      const engine = reference.kind === "podman" ? "podman" : "docker";
      const { contents, close } = await openDaemonImage(engine, reference.name, opening.cache(), context);
      opening.onClose(close);
      return chosen(contents, wordReference(reference), opening);
    }
  }
}

function stored(store: ImageStore, opening: Opening): Found {
  opening.onClose(() => store.close());
  return { kind: "store", store };
}

const saved = (files: Rootfs, name: string | undefined, opening: Opening): Found =>
  chosen(readDockerArchive(files, name), files.description, opening);

function chosen(contents: ImageContents, description: string, { options, context }: Opening): Found {
  const isAsked = options.platform !== undefined;
  checkPlatform(contents.config.platform, machinePlatform(options.platform), isAsked, description, context);
  return { kind: "contents", contents, description };
}

function keep(archive: OpenedArchive, opening: Opening): Rootfs {
  opening.onClose(() => archive.close());
  return archive.files;
}

const archiveAt = async (path: string, opening: Opening): Promise<Rootfs> =>
  keep(await openArchive(path, opening.cache()), opening);

/** A path without prefix: a folder or an archive, of an image or of a root. */
async function atPath(path: string, opening: Opening): Promise<Found> {
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  return isFile
    ? inArchive(await archiveAt(path, opening), opening)
    : inFolder(path, opening, ["oci-layout", "version"]);
}

function inFolder(path: string, opening: Opening, signs: readonly ("oci-layout" | "version")[]): Found {
  const files = openFolder(path, opening.context);
  const has = (name: string): boolean => statSync(join(path, name), { throwIfNoEntry: false })?.isFile() ?? false;
  if (signs.includes("oci-layout") && has("oci-layout")) return stored(openLayout(files, undefined), opening);
  if (signs.includes("version") && has("version") && has("manifest.json"))
    return stored(openSkopeoFolder(files), opening);
  return { kind: "root", rootfs: files };
}

function inArchive(files: Rootfs, opening: Opening): Found {
  const has = (name: string): boolean => files.lookup(rootPath(name))?.type === "file";
  // docker save writes both since version 25; its manifest.json has the names.
  if (has("manifest.json")) return saved(files, undefined, opening);
  if (has("oci-layout") && has("index.json")) return stored(openLayout(files, undefined), opening);
  return { kind: "root", rootfs: files };
}
