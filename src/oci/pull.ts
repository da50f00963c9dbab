import { refuseExisting, writeFolder, type WrittenFolder } from "./folder-writer.ts";
import { openImage, type Image, type OpenOptions } from "./image.ts";
import { parseReference } from "./reference.ts";

/** An image that was written as a folder. */
export interface PulledImage extends WrittenFolder {
  readonly image: Image;
}

/**
 * Writes an image's root file system as a folder: `flixwrap pull`.
 * @throws FlixwrapError: those of `openImage` and `writeFolder`; the folder is there whole or not at all.
 */
export async function pullImage(source: string, folder: string, options: OpenOptions): Promise<PulledImage> {
  // Told before anything is fetched.
  refuseExisting(folder);
  const { image, rootfs, close } = await openImage(parseReference(source), options);
  try {
    return { image, ...(await writeFolder(rootfs, folder, options.context)) };
  } finally {
    close();
  }
}
