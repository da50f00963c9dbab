import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { arch } from "node:os";
import { type Architecture, findArchitecture } from "../core/architectures.ts";
import { defined } from "../core/defined.ts";
import { rootPath } from "../core/paths.ts";
import { openCache } from "../oci/cache/cache.ts";
import { usualCacheFolder } from "../oci/cache/folder.ts";
import type { Digest } from "../oci/digest.ts";
import { descriptorSource } from "../oci/file-source.ts";
import { openImage, type OpenOptions } from "../oci/image.ts";
import { parseReference } from "../oci/reference.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import { type ChangedRoot, runInRoot, type RunOptions, runOnce } from "../oci/run.ts";
import { emptyFolder, type FolderInode, plainAttributes, treeRootfs } from "../oci/tree.ts";
import type { ImageRequest, Images, OpenedImage } from "./images.ts";
import { joinRoots } from "./join.ts";

/** Where a command's output is kept inside its root. */
const printedFile = "/.flixwrap-printed";
/** A list of versions is a few lines. In bytes. */
const largestPrinted = 16 << 20;

/**
 * Images from wherever references lead, and commands in copies of them. What a command made is kept in the cache, so
 * that the same command in the same image with the same inputs runs once.
 */
export function openImages(options: Omit<OpenOptions, "platform">): Images {
  const run = (root: Rootfs, command: string, config: RunOptions["config"]): [Rootfs, RunOptions] => {
    const cache = openCache(options.cacheDir ?? usualCacheFolder(options.context.env));
    return [root, { commands: [command], config, cache, context: options.context }];
  };
  return {
    async open(request) {
      const opened = await openPlain(request, options);
      const environment = opened.config.env;
      if (request.run === undefined) return { ...opened, environment };
      const inputs = openInputs(request.inputs);
      const closing: (() => void)[] = [inputs.close, opened.close];
      const close = (): void => closing.splice(0).forEach((one) => one());
      try {
        const [root, how] = run(
          joinRoots([opened.root, inputs.root], opened.root.description),
          request.run,
          opened.config,
        );
        const key = opened.digest === undefined ? undefined : keyOf(opened.digest, request.inputs);
        const changed: ChangedRoot = key === undefined ? await runInRoot(root, how) : await runOnce(root, key, how);
        closing.unshift(() => changed.close());
        return { root: changed.rootfs, environment, ...defined({ digest: opened.digest }), close };
      } catch (error) {
        close();
        throw error;
      }
    },
    async printed(image, command) {
      const opened = await openPlain({ image, architecture: ownArchitecture(), inputs: [] }, options);
      try {
        const changed = await runInRoot(...run(opened.root, `{ ${command}\n} >${printedFile}`, opened.config));
        const node = changed.rootfs.lookup(rootPath(printedFile));
        const text =
          node?.type === "file" ? Buffer.from(changed.rootfs.open(node).read(0, largestPrinted)).toString("utf8") : "";
        changed.close();
        return text;
      } finally {
        opened.close();
      }
    },
  };
}

async function openPlain(
  request: ImageRequest,
  options: Omit<OpenOptions, "platform">,
): Promise<OpenedImage & { digest?: Digest; config: RunOptions["config"] }> {
  const reference = parseReference(
    request.digest === undefined ? request.image : pinned(request.image, request.digest),
  );
  const { oci, variant } = request.architecture;
  const platform = ["linux", oci, variant].filter((part) => part !== undefined).join("/");
  const { image, rootfs, close } = await openImage(reference, { ...options, platform });
  return { root: rootfs, config: image.config, ...defined({ digest: image.digest }), close };
}

/** The one whose programs run here without an emulator. */
const ownArchitecture = (): Architecture => findArchitecture(arch()) ?? findArchitecture("amd64")!;

/** `alpine:3.21` with a digest is `alpine:3.21@sha256:…`; one that is pinned already, or no registry's, stays. */
const pinned = (image: string, digest: string): string =>
  /@|^(oci|dir|docker|tar|[a-z-]+-archive):|^[./]/.test(image) ? image : `${image}@${digest}`;

/** Names an image together with the files put into it. */
function keyOf(image: Digest, inputs: ImageRequest["inputs"]): Digest {
  if (inputs.length === 0) return image;
  // A download's path ends in its digest (cached-files.ts), so the paths say what the files are.
  const facts = JSON.stringify([image, ...inputs.map(({ to, path }) => [to, path.slice(path.lastIndexOf("/") + 1)])]);
  return `sha256:${createHash("sha256").update(facts).digest("hex")}`;
}

/** Files of this machine as a root of their own. */
function openInputs(inputs: ImageRequest["inputs"]): { root: Rootfs; close: () => void } {
  const tree = emptyFolder();
  const open: number[] = [];
  for (const { to, path, size } of inputs) {
    const fd = openSync(path, "r");
    open.push(fd);
    const names = rootPath(to).split("/").slice(1);
    const name = names.pop()!;
    const content = descriptorSource(fd, 0, size, to);
    folderAt(tree, names).children.set(name, { type: "file", size, open: () => content, ...plainAttributes(0o644) });
  }
  return { root: treeRootfs("inputs", tree), close: () => open.splice(0).forEach((fd) => closeSync(fd)) };
}

function folderAt(tree: FolderInode, names: readonly string[]): FolderInode {
  let folder = tree;
  for (const name of names) {
    const next = folder.children.get(name) ?? emptyFolder();
    folder.children.set(name, next);
    if (next.type === "directory") folder = next;
  }
  return folder;
}
