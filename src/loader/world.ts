import type { ElfFile } from "../elf/file.ts";
import type { RootNode } from "../oci/rootfs.ts";
import type { LoaderFacts } from "./facts.ts";
import type { CacheEntry } from "./library-cache.ts";
import type { Locator } from "./locate.ts";
import type { Opening } from "./objects.ts";

/** What one loader sees while it searches. */
export interface SearchWorld {
  readonly facts: LoaderFacts;
  /** Active `glibc-hwcaps` levels, best first. */
  readonly levels: readonly string[];
  readonly locate: Locator;
  /** Folders of LD_LIBRARY_PATH. */
  readonly libraryPath: readonly string[];
  openObject(node: RootNode): Opening;
  /** What ldconfig would put into the cache. */
  conf(): readonly CacheEntry[];
}

/** An object in a process, as the one that asks for another. */
export interface Asker {
  readonly node: RootNode;
  readonly elf: ElfFile;
  /** The path it was opened by, spelled as its loader spelled it: `$ORIGIN` is its folder. */
  readonly openedAs: string;
  /** The object that asked for this one first; undefined for the program. */
  readonly loadedBy?: Asker;
}
