import type { RootPath } from "../core/paths.ts";
import type { ElfFile } from "../elf/file.ts";
import type { RootNode } from "../oci/rootfs.ts";

/** Every object that the loaders of the given programs would map, and why each one. */
export interface Closure {
  /** In load order, breadth first; each real path once, of a library's hard links the first. Programs and loaders are among them. */
  readonly objects: readonly LoadedObject[];
  /** Needed, but not found anywhere; told all at once. */
  readonly missing: readonly MissingLibrary[];
  readonly warnings: readonly string[];
  /** What would be in memory together, one row per program and per library that was asked for by itself. */
  readonly processes: readonly Process[];
}

/** One run of a loader. */
export interface Process {
  /** The program, or the library that was loaded by itself; real path, as all paths here. */
  readonly main: RootPath;
  readonly loader: RootPath;
  readonly family: "glibc" | "musl";
  /** `glibc-hwcaps` levels of the processor, best first; none when all load the same. */
  readonly levels: readonly string[];
  /** Real paths in the order of the search for symbols: the program first, breadth first. */
  readonly objects: readonly RootPath[];
}

/** One object of the closure, however many processes load it. */
export interface LoadedObject {
  /** The real file inside the root. */
  readonly node: RootNode;
  readonly elf: ElfFile;
  readonly role: "program" | "interpreter" | "library";
  /** Every path under which a loader opened it (a link's path differs from `node.path`); never empty. */
  readonly foundAs: readonly RootPath[];
  /** Why it is here, one row per object that needs it. Empty for programs. */
  readonly reasons: readonly Reason[];
}

/** Why an object is loaded: who asked for it, by which name, and what found it. */
export interface Reason {
  /** Real path of the object with the DT_NEEDED (or PT_INTERP) entry. */
  readonly neededBy: RootPath;
  /** The entry as written: `libc.so.6`. */
  readonly name: string;
  readonly rule: SearchRule;
  /** Not loaded at start but by dlopen(3), and what for: `recommended: PKCS11 support`. */
  readonly dlopen?: string;
}

/** The rule of the loader that found an object. */
export type SearchRule =
  /** PT_INTERP of the program. */
  | { readonly kind: "interpreter" }
  /** A name with a slash is opened as it is. */
  | { readonly kind: "path" }
  /** DT_RPATH / DT_RUNPATH of `owner`, the entry expanded to `folder`. */
  | { readonly kind: "rpath" | "runpath"; readonly owner: RootPath; readonly folder: RootPath }
  /** A folder of the LD_LIBRARY_PATH that the image starts its programs with. */
  | { readonly kind: "library-path"; readonly folder: RootPath }
  /** The root's /etc/ld.so.cache, or what ldconfig would put there from ld.so.conf. */
  | { readonly kind: "cache" | "conf"; readonly folder: RootPath }
  /** A folder compiled into the loader, or musl's path file. */
  | { readonly kind: "default" | "path-file"; readonly folder: RootPath }
  /** Satisfied by an object that was loaded already (soname, request name or identity), or musl's own libc. */
  | { readonly kind: "loaded" };

/** A library that was asked for and not found. */
export interface MissingLibrary {
  readonly name: string;
  readonly neededBy: RootPath;
  /** Where was looked, in the loader's order. */
  readonly searched: readonly SearchedFolder[];
}

/** One place where a loader looked in vain. */
export interface SearchedFolder {
  readonly rule: SearchRule["kind"];
  /** As the loader spells it; `.` is the folder the program is started in. */
  readonly folder: string;
  /** Whose DT_RPATH or DT_RUNPATH it stands in. */
  readonly owner?: RootPath;
  /** What was there instead: `no such folder`, `/lib/libx.so is for another machine`. */
  readonly note?: string;
}
