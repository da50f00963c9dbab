/** Public API: any OCI image as a read-only root file system. `flixwrap/oci`. */
export { rootPath, type RootPath } from "../core/paths.ts";
export type { ByteSource } from "../core/bytes.ts";
export { usualCacheFolder } from "./cache/folder.ts";
export {
  type CacheEntry,
  listCache,
  pruneCache,
  type PruneOptions,
  type Verification,
  verifyCache,
} from "./cache/upkeep.ts";
export { openFolder } from "./folder-rootfs.ts";
export { type Image, openImage, type OpenedImage, type OpenOptions } from "./image.ts";
export type { ImageConfig } from "./manifest.ts";
export { type MemoryEntry, memoryRootfs } from "./memory-rootfs.ts";
export { parsePlatform, type Platform, wordPlatform } from "./platform.ts";
export { type PulledImage, pullImage } from "./pull.ts";
export { parseReference, type Reference, type RegistryReference, wordReference } from "./reference.ts";
export type { NodeType, RootNode, Rootfs } from "./rootfs.ts";
