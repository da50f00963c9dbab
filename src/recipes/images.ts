import type { Architecture } from "../core/architectures.ts";
import type { Rootfs } from "../oci/rootfs.ts";

/** What a recipe asks of an image; `open-images` answers it, tests with a root of their own. */
export interface ImageRequest {
  /** As written in the recipe. */
  readonly image: string;
  readonly architecture: Architecture;
  /** From a lock: the manifest's digest. */
  readonly digest?: string;
  /** A shell command run in the root first. */
  readonly run?: string;
  /** Files of this machine copied into the root before that. */
  readonly inputs: readonly { readonly to: string; readonly path: string; readonly size: number }[];
}

/** A root with what identifies it. */
export interface OpenedImage {
  readonly root: Rootfs;
  /** Of the manifest; undefined for a folder. */
  readonly digest?: string;
  /** What its programs are started with there: `NAME=VALUE`. */
  readonly environment?: readonly string[];
  close(): void;
}

/** How the engine comes to the images of a recipe. */
export interface Images {
  open(request: ImageRequest): Promise<OpenedImage>;
  /** What a command prints in an image of this machine's architecture; for lists of versions. */
  readonly printed?: (image: string, command: string) => Promise<string>;
}
