import { arch } from "node:os";
import { type Architecture, findArchitecture } from "../core/architectures.ts";
import { FlixwrapError } from "../core/errors.ts";
import { openImage, type OpenOptions } from "../oci/image.ts";
import { parseReference } from "../oci/reference.ts";
import type { Rootfs } from "../oci/rootfs.ts";
import type { ImageRequest, Images } from "./images.ts";

/** Runs a shell command in a writable copy of a root, with some files of this machine in it. */
export type RunInRoot = (
  root: Rootfs,
  request: ImageRequest & { readonly run: string },
) => Promise<{
  /** The root afterwards. */
  readonly root: Rootfs;
  /** What the command printed. */
  readonly stdout: string;
  close(): void;
}>;

/** Images from wherever references lead; commands in them by `run`, without which a recipe that has one is refused. */
export function openImages(options: Omit<OpenOptions, "platform">, run?: RunInRoot): Images {
  const open = async (request: ImageRequest) => {
    const reference = parseReference(
      request.digest === undefined ? request.image : pinned(request.image, request.digest),
    );
    const { architecture } = request;
    const platform = ["linux", architecture.oci, architecture.variant].filter((part) => part !== undefined).join("/");
    const { image, rootfs, close } = await openImage(reference, { ...options, platform });
    const digest = image.digest === undefined ? {} : { digest: image.digest };
    if (request.run === undefined) return { root: rootfs, ...digest, stdout: "", close };
    if (run === undefined) {
      close();
      throw new FlixwrapError("recipe-no-images", {
        what: "no command can be run in an image here",
        where: request.image,
      });
    }
    try {
      const done = await run(rootfs, { ...request, run: request.run });
      const closeBoth = (): void => {
        done.close();
        close();
      };
      return { root: done.root, ...digest, stdout: done.stdout, close: closeBoth };
    } catch (error) {
      close();
      throw error;
    }
  };
  return {
    open,
    async printed(image, command) {
      const architecture = ownArchitecture();
      const opened = await open({ image, architecture, run: command, inputs: [] });
      opened.close();
      return opened.stdout;
    },
  };
}

/** The one whose programs run here without an emulator. */
const ownArchitecture = (): Architecture => findArchitecture(arch()) ?? findArchitecture("amd64")!;

/** `alpine:3.21` with a digest is `alpine:3.21@sha256:…`; one that is pinned already stays. */
const pinned = (image: string, digest: string): string => (image.includes("@") ? image : `${image}@${digest}`);
